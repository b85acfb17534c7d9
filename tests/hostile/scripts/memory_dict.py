# expect: script_timeout|script_memory|script_crashed|script_timeout
# A dict that grows for ever.
def map(record, context):
    if record.get('hostile'):
        items = {}
        while True:
            items[len(items)] = [len(items)] * 100
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
