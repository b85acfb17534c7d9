# expect: script_result
# A result that holds itself.
def map(record, context):
    if record.get('hostile'):
        value = {'kind': 'entity', 'type': 'probe'}
        value['attributes'] = value
        return value
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
