"""Keys, certificates and what is read from them."""

import base64
import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from mlpeft.transport.security import certificates
from mlpeft.transport.security.certificates import CertificateError


@pytest.fixture(scope="module")
def ca():
    return certificates.new_ca()


def purposes(certificate):
    loaded = x509.load_pem_x509_certificate(certificate)
    return list(loaded.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_a_server_certificate_names_every_host_and_address(ca):
    pair = certificates.new_server(ca, ["head.local", "10.0.0.7", "fe80::1"])
    loaded = x509.load_pem_x509_certificate(pair.certificate)
    names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [
        "coordinator.mlpeft",
        "head.local",
    ]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == [
        "10.0.0.7",
        "fe80::1",
    ]
    assert purposes(pair.certificate) == [ExtendedKeyUsageOID.SERVER_AUTH]
    loaded.verify_directly_issued_by(x509.load_pem_x509_certificate(ca.certificate))


def test_a_worker_certificate_is_for_its_key_and_is_no_servers(ca):
    key = certificates.new_key()
    request = certificates.new_request(key, "asked-for")
    certificate = certificates.sign_request(ca, request, "given")
    assert certificates.read(certificate).name == "given"
    assert certificates.same_key(certificate, request)
    other = certificates.new_request(certificates.new_key(), "given")
    assert not certificates.same_key(certificate, other)
    assert purposes(certificate) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    loaded = x509.load_pem_x509_certificate(certificate)
    assert not loaded.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_nothing_that_a_request_asks_for_gets_into_the_certificate(ca):
    """A request for a CA's certificate gets a worker's."""
    key = serialization.load_pem_private_key(certificates.new_key(), None)
    builder = x509.CertificateSigningRequestBuilder(
        certificates._subject("eve")
    ).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    request = builder.sign(key, hashes.SHA256())
    signed = certificates.sign_request(
        ca, request.public_bytes(serialization.Encoding.PEM), "eve"
    )
    loaded = x509.load_pem_x509_certificate(signed)
    assert not loaded.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_certificate_says_how_long_it_is_good_for(ca):
    request = certificates.new_request(certificates.new_key(), "ada")
    info = certificates.read(certificates.sign_request(ca, request, "ada"))
    assert info.days_left() == pytest.approx(certificates.LEAF_DAYS, abs=0.1)
    assert info.not_after > dt.datetime.now(dt.UTC)


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "a\n", "é", "a" * 64])
def test_what_cannot_be_a_name_is_refused(ca, name):
    request = certificates.new_request(certificates.new_key(), "ada")
    with pytest.raises(CertificateError, match="cannot be a worker's name"):
        certificates.sign_request(ca, request, name)


@pytest.mark.parametrize("request_pem", [b"", b"garbage", b"\xff"])
def test_a_damaged_request_is_refused(ca, request_pem):
    with pytest.raises(CertificateError, match="not a certificate request"):
        certificates.sign_request(ca, request_pem, "ada")


def test_a_request_with_a_swapped_key_is_refused(ca):
    """The signature proves that the asker has the key."""
    request = certificates.new_request(certificates.new_key(), "ada")
    der = bytearray(
        x509.load_pem_x509_csr(request).public_bytes(serialization.Encoding.DER)
    )
    der[-1] ^= 1
    damaged = x509.load_der_x509_csr(bytes(der)).public_bytes(
        serialization.Encoding.PEM
    )
    with pytest.raises(CertificateError, match="not signed by its own key"):
        certificates.sign_request(ca, damaged, "ada")


def test_a_request_with_a_key_of_another_kind_is_refused(ca):
    key = ed25519.Ed25519PrivateKey.generate()
    builder = x509.CertificateSigningRequestBuilder(certificates._subject("ada"))
    request = builder.sign(key, None).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(CertificateError, match="must be ECDSA on P-256"):
        certificates.sign_request(ca, request, "ada")


def test_of_several_certificates_in_one_text_only_the_first_is_kept(ca):
    """Else a second root would come along with the one that was checked."""
    other = certificates.new_ca()
    both = ca.certificate + other.certificate
    assert certificates.fingerprint(both) == certificates.fingerprint(ca.certificate)
    assert certificates.first_certificate(both) == ca.certificate


def test_a_host_that_is_none_is_named(ca):
    with pytest.raises(CertificateError, match="neither a host name nor an IP"):
        certificates.new_server(ca, ["höst"])


def test_a_certificate_of_a_version_that_does_not_exist_is_refused(ca):
    """X.509 v11: cryptography raises InvalidVersion, which is no ValueError."""
    der = x509.load_pem_x509_certificate(ca.certificate).public_bytes(
        serialization.Encoding.DER
    )
    version = bytes.fromhex("a003020102")  # v3
    assert version in der
    changed = der.replace(version, bytes.fromhex("a00302010a"), 1)
    body = base64.encodebytes(changed)
    pem = b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"
    with pytest.raises(CertificateError, match="not a PEM certificate"):
        certificates.first_certificate(pem)
