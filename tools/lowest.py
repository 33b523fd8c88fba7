"""Print the lower bounds of pyproject.toml as pip constraints."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
used = [names for extra, names in extras.items() if extra not in ("dev", "reference")]
for requirement in dict.fromkeys(sum(used, project["dependencies"])):
    if match := re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement):
        print(f"{match[1]}=={match[2]}")
