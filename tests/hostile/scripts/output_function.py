# expect: script_result
# A function.
def map(record, context):
    if record.get('hostile'):
        return map
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
