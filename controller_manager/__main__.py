"""`python -m controller_manager --flags`: `--help` lists them."""

from controller_manager.configs import parse
from controller_manager.running import run
from machinery.running import main

if __name__ == "__main__":
    config = parse()
    main("controller-manager", lambda: run(config), verbosity=config.verbosity)
