# expect: script_failed|script_timeout|delivered
# A regular expression that backtracks exponentially.
def map(record, context):
    if record.get('hostile'):
        import re
        re.match('^(a+)+$', 'a' * 40 + 'b')
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
