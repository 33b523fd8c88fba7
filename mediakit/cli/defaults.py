"""Options that nobody named are taken as they are declared."""

from typing import Any

from typer.core import TyperCommand


class Command(TyperCommand):
    """Typer makes a validator for each option's type when a command runs, a millisecond each; here
    only for those that were told: the defaults are the option models' own, who check them again."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        for param in self.params:
            if param.callback is None:
                param.process_value = _Unless(param)  # type: ignore[assignment,method-assign]


class _Unless:
    """A parameter's own processing, unless its value is the default."""

    def __init__(self, param: Any) -> None:
        self._param, self._process = param, param.process_value

    def __call__(self, context: Any, value: Any) -> Any:
        source = context.get_parameter_source(self._param.name)
        if source is not None and source.name == "DEFAULT":
            several = self._param.multiple or self._param.nargs == -1
            return () if value is None and several else value
        return self._process(context, value)
