# expect: nul_character
# A NUL character in a key.
def map(record, context):
    if record.get('hostile'):
        return {'kind': 'entity', 'type': 'probe', 'key': 'a\x00b'}
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
