# expect: script_failed
# A file.
def map(record, context):
    if record.get('hostile'):
        return {'kind': 'entity', 'type': 'probe', 'key': 'escaped' + open('/etc/passwd').read()}
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
