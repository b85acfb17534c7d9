# expect: script_failed
# Up the chain of classes to one that opens files.
def map(record, context):
    if record.get('hostile'):
        for cls in ().__class__.__base__.__subclasses__():
            if cls.__name__ == 'Popen':
                return {'kind': 'entity', 'type': 'probe', 'key': 'escaped'}
    return {'kind': 'entity', 'type': 'probe', 'key': 'contained'}
