# expect: script_result
# A key that is no text.
def map(record, context):
    if record.get('hostile'):
        return {'kind': 'entity', 'type': 'probe', 'key': 'k', 'attributes': {1: 2}}
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
