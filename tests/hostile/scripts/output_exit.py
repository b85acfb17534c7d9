# expect: script_failed
# `raise SystemExit`.
def map(record, context):
    if record.get('hostile'):
        raise SystemExit('bye')
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
