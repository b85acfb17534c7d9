# expect: script_memory|script_crashed|script_timeout
# A list that grows for ever.
def map(record, context):
    if record.get('hostile'):
        items = []
        while True:
            items.append('x' * 1000 + str(len(items)))
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
