# expect: script_timeout|script_memory|script_crashed|script_failed
# A text that doubles for ever.
def map(record, context):
    if record.get('hostile'):
        text = 'x'
        while True:
            text = text + text
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
