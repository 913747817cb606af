"""python -m kubelet --flags"""

from kubelet import agents, fleets
from kubelet.config import parse
from machinery.clocks import SYSTEM
from machinery.running import main

if __name__ == "__main__":
    config = parse()
    run = fleets.run if config.runtime == "simulated" else agents.run
    main("kubelet", lambda: run(config, SYSTEM))
