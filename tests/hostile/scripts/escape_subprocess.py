# expect: script_failed
# A process.
def map(record, context):
    if record.get('hostile'):
        import subprocess
        return {'kind': 'entity', 'type': 'probe', 'key': 'escaped' + str(subprocess.run(['id']))}
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
