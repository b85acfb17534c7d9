# expect: script_failed
# The globals of a built-in function.
def map(record, context):
    if record.get('hostile'):
        return {'kind': 'entity', 'type': 'probe', 'key': 'escaped' + str(print.__self__.__dict__)}
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
