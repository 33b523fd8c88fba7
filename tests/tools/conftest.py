import sys
from pathlib import Path

# tools/ is no part of the package that is installed
sys.path.insert(0, str(Path(__file__).parent.parent.parent))
