"""The models of a command: known by their digests, and fetched."""

from collections.abc import Callable

from mediakit.batch.events import Fetching
from mediakit.cli.checks import check_entry
from mediakit.cli.render import Renderer
from mediakit.errors import UserError
from mediakit.models import trust
from mediakit.models.spec import ModelSpec
from mediakit.models.store import Store
from mediakit.params import Batch


def pinning(batch: Batch, renderer: Renderer) -> Callable[[ModelSpec], ModelSpec]:
    """What fetches models whose digests are not known yet; a dry run fetches nothing."""
    store = Store(offline=batch.offline)
    failures: dict[str, UserError] = {}  # asked for once, however many rows name it

    def pin(spec: ModelSpec) -> ModelSpec:
        check_entry(spec)
        if batch.dry_run:
            return trust.fill(spec, store.root)
        if failure := failures.get(spec.name):
            raise UserError(failure.code, failure.message)
        try:
            return store.pin(spec, lambda *told: renderer(Fetching(*told)))
        except UserError as e:
            failures[spec.name] = e
            raise

    return pin
