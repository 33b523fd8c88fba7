"""The JSON record as docs/json.md has it, as a model that refuses anything else."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mediakit.errors import CODES

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Base64 = Annotated[str, Field(pattern="^[A-Za-z0-9+/]+=*$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Artifact(Strict):
    path: str
    role: str
    media_type: str
    bytes: int
    sha256: Sha256
    path_b64: Base64 | None = None


class Model(Strict):
    role: str
    name: str
    revision: str
    sha256: Sha256


class Error(Strict):
    code: Annotated[str, Field(json_schema_extra={"enum": list(CODES)})]
    message: Annotated[str, Field(pattern=r"^[^\n]+$")]


class Attempt(Strict):
    code: str
    message: str
    then: str


class Record(Strict):
    schema_: Literal["mediakit/1"] = Field(alias="schema")
    id: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
    task: str
    key: str
    status: Literal["planned", "done", "skipped", "failed"]
    input: str
    inputs: dict[str, str]
    outputs: list[str]
    artifacts: list[Artifact]
    params: dict[str, Any]
    given: list[str]
    execution: dict[str, Any]
    models: list[Model]
    result: dict[str, Any]
    seconds: dict[str, float | int]
    warnings: list[str]
    attempts: list[Attempt]
    source: list[str]
    error: Error | None
    finished: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")] | None
    key_b64: Base64 | None = None
    input_b64: Base64 | None = None
    outputs_b64: list[Base64] | None = None


def check(record: dict[str, Any]) -> None:
    """AssertionError or ValidationError unless it is a record, and says nothing contradictory."""
    made = Record.model_validate(record)
    has_result = made.status in ("done", "skipped")
    assert bool(made.artifacts) == (has_result and bool(made.outputs))
    assert (made.error is not None) == (made.status == "failed")
    assert made.error is None or made.error.code in CODES
    assert (made.finished is None) == (made.status == "planned")
    assert set(made.given) <= made.params.keys()
    assert made.status != "failed" or made.outputs == []
    assert [a.path for a in made.artifacts if a.path in made.outputs] == made.outputs or (
        not has_result
    )
