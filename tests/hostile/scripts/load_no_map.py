# expect: script_no_map
# at: load
# No `map`.
def other(record, context):
    return None
