# expect: script_timeout|script_memory
# A comprehension over a range without end.
def map(record, context):
    if record.get('hostile'):
        n = sum(1 for _ in range(10 ** 18))
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
