import pytest

from api import names

LABEL = names.LABEL
UPSTREAM = {
    names.dns_label_faults: "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
    names.dns_1035_faults: "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
    names.dns_subdomain_faults: "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
    names.search_path_faults: "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')",
    names.label_value_faults: "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
    names.config_key_faults: "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
}  # fmt: skip


@pytest.mark.parametrize("rule", UPSTREAM)
def test_a_form_is_explained_in_upstreams_words(rule):
    assert rule("a b") == [UPSTREAM[rule]]


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (names.dns_label_faults, ["a", "1", "a-b", "x" * 63], ["", "-a", "a-", "A", "a.b", "a\n", "é", "x" * 64]),
        (names.dns_1035_faults, ["a", "a1", "a-b"], ["", "1a", "-a", "a.b", "x" * 64]),
        (names.dns_subdomain_faults, ["a", "a.b", "1.2", "a-b.c", "x" * 253], ["", ".a", "a.", "a..b", "A", "a_b", "x" * 254]),
        (names.search_path_faults, ["a", "_a.b", "a_b.c", "x" * 253], ["", "a.", "a_", "__a", "A", "x" * 254]),
        (names.label_value_faults, ["", "a", "A_b.c-1", "x" * 63], ["-a", "a-", "a b", "é", "x" * 64]),
        (names.config_key_faults, ["a", ".a", "A_b-c.d", "..." [:1] + "a"], ["", ".", "..", "..a", "a/b", "x" * 254]),
        (names.qualified_name_faults, ["a", "a.b/c", "A_b", "a.b/" + "x" * 63], ["", "/a", "a/", "a/b/c", "A.b/c", "a b", "x" * 64]),
        (names.path_segment_faults, ["a", "system:x", "A b"], [".", "..", "a/b", "a%b"]),
        (names.port_name_faults, ["http", "a1", "x" * 15], ["", "1", "A", "a--b", "-a", "a-", "x" * 16]),
        (names.env_name_faults, ["a", "A.b", "1-x", "~"], ["", "a=b", "é", "\t"]),
        (names.header_name_faults, ["X-Header"], ["", "a b", "a_b"]),
        (names.percent_faults, ["0%", "250%"], ["", "5", "-1%", "1.5%"]),
    ],
)  # fmt: skip
def test_forms(rule, good, bad):
    assert [v for v in good if rule(v)] == []
    assert [v for v in bad if not rule(v)] == []


def test_every_fault_of_a_value_is_told():
    assert names.dns_label_faults("a.b") == ["must not contain dots"]
    assert [f.partition(" (")[0] for f in names.dns_label_faults("A" * 64)] == [
        "must be no more than 63 bytes",
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
    ]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("/a", "prefix part must be non-empty"),
        ("a/", "name part must be non-empty"),
        ("a/" + "x" * 64, "name part must be no more than 63 bytes"),
        ("A/b", "prefix part a lowercase RFC 1123 subdomain must consist of"),
        ("a/b/c", "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"),
    ],
)  # fmt: skip
def test_qualified_names_say_which_part_is_wrong(key, said):
    assert names.qualified_name_faults(key)[0].startswith(said)


def test_port_numbers():
    assert names.port_number_faults(1) == names.port_number_faults(65535) == []
    assert names.port_number_faults(0) == names.port_number_faults(65536) == ["must be between 1 and 65535, inclusive"]
