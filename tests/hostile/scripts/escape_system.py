# expect: script_failed
# A shell.
def map(record, context):
    if record.get('hostile'):
        import os
        os.system('true')
        return {'kind': 'entity', 'type': 'probe', 'key': 'escaped'}
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
