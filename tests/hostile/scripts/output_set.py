# expect: script_result
# A set has no JSON.
def map(record, context):
    if record.get('hostile'):
        return {'kind': 'entity', 'type': 'probe', 'key': {1, 2}}
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
