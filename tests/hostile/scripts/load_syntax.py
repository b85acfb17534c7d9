# expect: script_failed
# at: load
# Not a script at all.
def map(record, context:
    return
