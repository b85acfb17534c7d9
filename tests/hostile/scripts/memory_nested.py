# expect: script_timeout|script_memory|script_crashed|script_failed
# A list multiplied by itself.
def map(record, context):
    if record.get('hostile'):
        items = [0] * 1000
        for _ in range(10):
            items = items * 1000
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
