"""The Common Expression Language, as Kubernetes speaks it.

    source ─lexing▸ tokens ─parsing, macros▸ tree ─checking▸ typed tree ─planning▸ closures ─▸ value
                                                        └─estimates▸ what it can cost

trees, types, values, faults    the vocabulary
schemas                         OpenAPI schemas → types
libraries                       the functions
tolls                           what calls cost while they run
environments                    how others use all this

https://kubernetes.io/docs/reference/using-api/cel/, https://github.com/google/cel-spec

    program = Environment({"self": schemas.declared(schema)}).compile("self.replicas <= 5", (types.BOOL,))
    program.evaluate({"self": {"replicas": 3}})
"""

from machinery.cel.environments import PER_CALL, Budget, Environment, Program
from machinery.cel.faults import BudgetFault, CelFault, CompilationFault, EvaluationFault

__all__ = [
    "PER_CALL",
    "Budget",
    "BudgetFault",
    "CelFault",
    "CompilationFault",
    "Environment",
    "EvaluationFault",
    "Program",
]
