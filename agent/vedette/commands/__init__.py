"""The verbs of the command line, one module for those that belong together.

``vedette.cli`` imports a module of this package only when one of its verbs is asked for.
"""
