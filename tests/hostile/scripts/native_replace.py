# expect: script_timeout|script_memory|script_failed
# `replace` that grows what it reads.
def map(record, context):
    if record.get('hostile'):
        text = 'aa'
        for _ in range(60):
            text = text.replace('a', 'aa')
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
