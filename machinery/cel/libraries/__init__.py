"""The functions that expressions can call, as Kubernetes offers them.

https://kubernetes.io/docs/reference/using-api/cel/#cel-options-language-features-and-libraries
"""
