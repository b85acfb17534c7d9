# expect: script_failed|script_timeout|script_memory
# A power with millions of digits.
def map(record, context):
    if record.get('hostile'):
        big = 7 ** 40_000_000
        return {'kind': 'entity', 'type': 'probe', 'key': 'escaped' + str(big)}
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
