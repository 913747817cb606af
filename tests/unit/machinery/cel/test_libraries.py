"""Kubernetes' libraries, by the examples of their documentation."""

from typing import Any

import pytest

from machinery.cel import Environment, EvaluationFault
from machinery.cel.libraries.authorizing import AUTHORIZER, Authorizer, Decision, Question
from machinery.cel.libraries.tables import WITH_PATCHES

ENVIRONMENT = Environment({"authorizer": AUTHORIZER}, WITH_PATCHES)


def value(source: str) -> Any:
    return ENVIRONMENT.compile(source).evaluate({})


LISTS = [
    ("[1, 2, 3].isSorted()", True),
    ("['a', 'b', 'b', 'c'].isSorted()", True),
    ("[2.0, 1.0].isSorted()", False),
    ("[].isSorted()", True),
    ("[1, 3].sum()", 4),
    ("[1.0, 3.0].sum()", 4.0),
    ("[duration('1m'), duration('1s')].sum() == duration('61s')", True),
    ("[].sum()", 0),
    ("[1, 3].min()", 1),
    ("['a', 'c', 'b'].max()", "c"),
    ("[1, 2, 2, 3].indexOf(2)", 1),
    ("['a', 'b', 'b', 'c'].lastIndexOf('b')", 2),
    ("[1.0].indexOf(1.1)", -1),
    ("sets.contains([1, 2], dyn([1.0]))", True),
    ("sets.equivalent([1, 1], [1])", True),
    ("sets.intersects([1], [2])", False),
]
STRINGS = [
    ("'hello'.charAt(4)", "o"),
    ("'hello'.charAt(5)", ""),
    ("'hello mellow'.indexOf('ello')", 1),
    ("'hello mellow'.indexOf('')", 0),
    ("'hello mellow'.indexOf('jello')", -1),
    ("'hello mellow'.indexOf('ello', 2)", 7),
    ("'hello mellow'.lastIndexOf('')", 12),
    ("'hello mellow'.lastIndexOf('ello')", 7),
    ("'hello mellow'.lastIndexOf('ello', 6)", 1),
    ("['hello', 'mellow'].join()", "hellomellow"),
    ("['hello', 'mellow'].join(' ')", "hello mellow"),
    ("[].join('/')", ""),
    ("'TacoCÆt Xii'.lowerAscii()", "tacocÆt xii"),
    ("'TacoCÆt Xii'.upperAscii()", "TACOCÆT XII"),
    ("'hello hello'.replace('he', 'we')", "wello wello"),
    ("'hello hello'.replace('he', 'we', 1)", "wello hello"),
    ("'hello hello'.replace('he', 'we', 0)", "hello hello"),
    ("'ab'.replace('', '-')", "-a-b-"),
    ("'hello hello hello'.split(' ')", ["hello", "hello", "hello"]),
    ("'hello hello hello'.split(' ', 0)", []),
    ("'hello hello hello'.split(' ', 1)", ["hello hello hello"]),
    ("'hello hello hello'.split(' ', 2)", ["hello", "hello hello"]),
    ("'abc'.split('')", ["a", "b", "c"]),
    ("'tacocat'.substring(4)", "cat"),
    ("'tacocat'.substring(0, 4)", "taco"),
    ("'  \\ttrim\\n    '.trim()", "trim"),
    ("strings.quote('a \"b\" \\n')", '"a \\"b\\" \\n"'),
    ("'this is a string: %s\\nand an integer: %d'.format(['str', 42])", "this is a string: str\nand an integer: 42"),
    ("'%s'.format([64.2])", "64.2"),
    ("'%s'.format([type('')])", "string"),
    ("'%s'.format([timestamp('2023-02-03T23:31:20+00:00')])", "2023-02-03T23:31:20Z"),
    ("'%s'.format([duration('1h45m47s')])", "6347s"),
    ("'%f %.2f'.format([3.14, 2.0])", "3.140000 2.00"),
    ("'%b %x %X %o %%'.format([5, 26, 26, 30])", "101 1a 1A 36 %"),
    ("'%x'.format(['hi'])", "6869"),
    ("'%s'.format([[1, {'a': 'x'}]])", '[1, {"a":"x"}]'),
    ("'%s %s %b'.format([true, null, false])", "true null 0"),
    ("'abc 123'.find('[0-9]*$')", "123"),
    ("'abc'.find('[0-9]')", ""),
    ("'123 abc 456'.findAll('[0-9]+')", ["123", "456"]),
    ("'123 abc 456'.findAll('[0-9]+', 1)", ["123"]),
]
URLS = [
    ("url('/path').getScheme()", ""),
    ("url('https://example.com:80/').getHost()", "example.com:80"),
    ("url('https://[::1]:80/').getHost()", "[::1]:80"),
    ("url('https://[::1]:80/').getHostname()", "::1"),
    ("url('https://user:pass@example.com:80/path').getHostname()", "example.com"),
    ("url('https://example.com:80/').getPort()", "80"),
    ("url('https://example.com/').getPort()", ""),
    ("url('https://example.com/path with spaces/').getEscapedPath()", "/path%20with%20spaces/"),
    ("url('https://example.com').getEscapedPath()", ""),
    ("url('https://example.com/path?k1=a&k2=b&k2=c').getQuery()", {"k1": ["a"], "k2": ["b", "c"]}),
    ("url('https://example.com/path').getQuery()", {}),
    ("isURL('https://a:b:c/')", False),
    ("isURL('../relative-path')", False),
    ("isURL('/absolute-path')", True),
]
QUANTITIES = [
    ("isQuantity('1.3Gi')", True),
    ("isQuantity('1,3G')", False),
    ("isQuantity('200K')", False),
    ("quantity('50k').isInteger()", True),
    ("quantity('50k').asInteger()", 50000),
    ("quantity('9999999999999999999999999999999999999G').isInteger()", False),
    ("quantity('50k').sub(20000).asApproximateFloat()", 30000.0),
    ("quantity('50k').add(quantity('20k')) == quantity('70k')", True),
    ("quantity('50k').add(20).sub(quantity('100k')).sub(-50000) == quantity('20')", True),
    ("quantity('200M').compareTo(quantity('0.2G'))", 0),
    ("quantity('50M').compareTo(quantity('50Mi'))", -1),
    ("quantity('150Mi').isGreaterThan(quantity('100Mi'))", True),
    ("quantity('50M').isLessThan(quantity('100M'))", True),
    ("quantity('-5').sign()", -1),
]
NETWORKS = [
    ("isIP('127.0.0.256')", False),
    ("isIP('::ffff:1.2.3.4')", False),
    ("isIP('fe80::1%eth0')", False),
    ("isIP('010.0.0.1')", False),
    ("ip.isCanonical('2001:DB8::ABCD')", False),
    ("ip.isCanonical('2001:db8::abcd')", True),
    ("ip('::1').family()", 6),
    ("string(ip('::0:1'))", "::1"),
    ("ip('0.0.0.0').isUnspecified()", True),
    ("ip('127.0.0.1').isLoopback()", True),
    ("ip('224.0.0.1').isLinkLocalMulticast()", True),
    ("ip('224.0.1.1').isLinkLocalMulticast()", False),
    ("ip('ff02::1').isLinkLocalMulticast()", True),
    ("ip('169.254.169.254').isLinkLocalUnicast()", True),
    ("ip('255.255.255.255').isGlobalUnicast()", False),
    ("ip('192.168.0.1').isGlobalUnicast()", True),
    ("ip('ff00::1').isGlobalUnicast()", False),
    ("cidr('192.168.0.0/24').containsIP('192.168.0.1')", True),
    ("cidr('192.168.0.0/24').containsIP(ip('192.168.1.1'))", False),
    ("cidr('192.168.0.0/16').containsCIDR('192.168.10.0/24')", True),
    ("cidr('192.168.1.0/24').containsCIDR(cidr('192.168.2.0/24'))", False),
    ("cidr('192.168.0.1/24').ip() == ip('192.168.0.1')", True),
    ("string(cidr('192.168.0.1/24').masked())", "192.168.0.0/24"),
    ("cidr('192.168.0.1/24') == cidr('192.168.0.1/24').masked()", False),
    ("cidr('::1/128').prefixLength()", 128),
    ("isCIDR('192.168.0.0/33')", False),
    ("isCIDR('192.168.0.0')", False),
]
OTHERS = [
    ("semver('1.2.3').compareTo(semver('2.0.0'))", -1),
    ("semver('1.0.0-alpha.1').isLessThan(semver('1.0.0'))", True),
    ("semver('1.0.0-2').isLessThan(semver('1.0.0-10'))", True),
    ("semver('1.0.0+a') == semver('1.0.0+b')", True),
    ("semver('v01.01', true).minor()", 1),
    ("isSemver('v1.0')", False),
    ("isSemver('v1.0', true)", True),
    ("isSemver('200K')", False),
    ("semver('1.2.3').patch()", 3),
    ("format.dns1123Label().validate('my-label').hasValue()", False),
    ("format.dns1123LabelPrefix().validate('my-prefix-').hasValue()", False),
    ("format.uuid().validate('x').value()", ["does not match the UUID format"]),
    ("format.named('date').value().validate('2021-01-01').hasValue()", False),
    ("format.named('datetime').value().validate('2021-01-01').value()", ["invalid datetime"]),
    ("format.named('unknown').hasValue()", False),
    ("format.byte().validate('aGVsbG8=').hasValue()", False),
    ("jsonpatch.escapeKey('a~b/c')", "a~0b~1c"),
]


@pytest.mark.parametrize(("source", "wanted"), [*LISTS, *STRINGS, *URLS, *QUANTITIES, *NETWORKS, *OTHERS])
def test_functions_do_what_their_documentation_says(source: str, wanted: Any) -> None:
    assert value(source) == wanted


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("'hello'.charAt(-1)", "index out of range: -1"),
        ("'hello mellow'.indexOf('ello', 20)", "index out of range: 20"),
        ("'tacocat'.substring(2, 1)", "invalid substring range. start: 2, end: 1"),
        ("[].min()", "min called on empty list"),
        ("quantity('1.5').asInteger()", "cannot convert value to integer"),
        ("ip('127.0.0.256')", "parse error during conversion from string"),
        ("cidr('192.168.0.0/33')", "network address parse error during conversion from string"),
        ("url('../relative-path')", "invalid URI for request"),
        ("semver('Three')", "No Major.Minor.Patch elements found"),
        ("'%d'.format(['a'])", "decimal clause can only be used on integers, was given string"),
        ("'%s %s'.format(['a'])", "index 1 out of range"),
    ],
)
def test_functions_refuse_what_makes_no_sense(source: str, message: str) -> None:
    with pytest.raises(EvaluationFault) as caught:
        value(source)
    assert message in caught.value.message


def test_authorizers_are_asked_what_the_expression_builds_up() -> None:
    asked: list[Question] = []

    def ask(question: Question) -> Decision:
        asked.append(question)
        return Decision(question.verb == "create", "because")

    assert (
        ENVIRONMENT.compile("authorizer.path('/healthz').check('get').allowed()").evaluate(
            {"authorizer": Authorizer(ask)}
        )
        is False
    )
    assert asked.pop() == Question(path="/healthz", verb="get")
    source = (
        "authorizer.group('apps').resource('deployments').subresource('scale').namespace('a').name('b')"
        ".check('create').allowed() && authorizer.serviceAccount('ns', 'sa').group('').resource('pods').fieldSelector('spec.nodeName=x')"
        ".check('list').reason() == 'because'"
    )
    assert ENVIRONMENT.compile(source).evaluate({"authorizer": Authorizer(ask)}) is True
    assert asked == [
        Question(group="apps", resource="deployments", subresource="scale", namespace="a", name="b", verb="create"),
        Question(account=("ns", "sa"), resource="pods", field_selector="spec.nodeName=x", verb="list"),
    ]
