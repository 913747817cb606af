"""python -m kubelet --flags"""

from kubelet.agents import run
from kubelet.config import parse
from machinery.running import main

if __name__ == "__main__":
    config = parse()
    main("kubelet", lambda: run(config))
