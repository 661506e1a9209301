"""A real Apache Kafka without Docker: the jars, a Java, and the processes."""


class BrokerError(Exception):
    """The broker cannot be installed, started or reached; says what to do in one sentence."""
