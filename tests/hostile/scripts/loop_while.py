# expect: script_timeout
# An endless loop.
def map(record, context):
    if record.get('hostile'):
        while True:
            pass
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
