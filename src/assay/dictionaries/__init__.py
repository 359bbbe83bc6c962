"""One file a variant. Nothing is listed here: `Dictionary.registry` finds every module of this package, and every plug-in."""
