"""Custom kinds: from a CustomResourceDefinition to objects that behave like built-in ones.

    schemas, values, formats, lists    a structural schema, and what is wrong with a value beside it
    pruning, defaulting, metadata      what a document loses and gains before it is an object
    expressions                        x-kubernetes-validations
    shapes                             one definition compiled: its versions, as kinds of the catalogue
    jsonpaths, printing                additionalPrinterColumns
    objects                            the strategies that `apiserver.rules` asks for custom kinds
    definitions, structure, publishing the rules of CustomResourceDefinitions themselves; OpenAPI
    viewing                            stored documents in the version that was asked for; conversion webhooks
    keeping, establishing              the catalogue follows the definitions; their conditions, their end

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""
