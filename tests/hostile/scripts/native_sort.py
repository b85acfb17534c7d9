# expect: script_timeout|script_memory
# Sorting a large list, again and again.
def map(record, context):
    if record.get('hostile'):
        items = list(range(1_000_000))
        while True:
            items.sort(key=lambda x: -x)
            items.sort()
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
