# expect: script_failed|script_timeout|script_crashed|delivered|script_memory
# The text of a hundred thousand levels.
def map(record, context):
    if record.get('hostile'):
        value = []
        for _ in range(100_000):
            value = [value]
        str(value)
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
