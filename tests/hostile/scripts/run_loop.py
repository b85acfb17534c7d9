# expect: script_timeout
# at: load
# The script's own lines never end: they are run for each record.
while True:
    pass


def map(record, context):
    return None
