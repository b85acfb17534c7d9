# expect: script_failed
# A file, by a path.
def map(record, context):
    if record.get('hostile'):
        from pathlib import Path
        return {'kind': 'entity', 'type': 'probe', 'key': 'escaped' + Path('/etc/passwd').read_text()}
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
