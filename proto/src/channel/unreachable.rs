//! Why no coordinator could be connected to: a cause for each address, with its remedy.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};
use tonic::Status;

/// Why a connection to an address failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// Nothing listens there.
    #[error("{0}")]
    NothingListens(String),
    /// The name has no address.
    #[error("its name cannot be resolved: {0}")]
    UnknownName(String),
    /// No answer within the time limit.
    #[error("no answer within {} s", .0.as_secs())]
    NoAnswer(Duration),
    /// The connection was closed before an answer.
    #[error("it closed the connection before it answered")]
    Closed,
    /// The certificate is signed by another authority.
    #[error("its certificate is not signed by an authority of --tls-ca ({0})")]
    UnknownAuthority(String),
    /// The certificate has expired.
    #[error("its certificate has expired")]
    Expired,
    /// The certificate is not valid yet.
    #[error("its certificate is not valid yet")]
    NotYetValid,
    /// The certificate is for other names.
    #[error("its certificate is not for the name of this address ({0})")]
    WrongName(String),
    /// The certificate cannot be used for another reason.
    #[error("its certificate cannot be used ({0})")]
    BadCertificate(String),
    /// The server asks for a certificate, and this program has none.
    #[error("it asks for a certificate of this program, and none is given")]
    CertificateRequired,
    /// The server refuses the certificate of this program.
    #[error("it refuses the certificate of this program ({0})")]
    CertificateRefused(String),
    /// The server does not speak TLS.
    #[error("it does not speak TLS")]
    SpeaksPlainText,
    /// The server speaks TLS.
    #[error("it speaks TLS, and the address is for plain text")]
    SpeaksTls,
    /// Another program listens there.
    #[error("what listens there is not a coordinator: it does not speak HTTP/2")]
    NotACoordinator,
    /// Another error of the system or of TLS.
    #[error("{0}")]
    Other(String),
}

impl Cause {
    /// The cause of an I/O error of a connection.
    pub(super) fn of(error: &io::Error) -> Self {
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Self::of_tls(error);
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                Self::NothingListens(error.to_string())
            }
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Other(error.to_string()),
        }
    }

    fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(problem) => match problem {
                // An authority of the same name with another key.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    Self::UnknownAuthority(error.to_string())
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::NotYetValid
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Self::WrongName(problem.to_string())
                }
                other => Self::BadCertificate(other.to_string()),
            },
            rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => Self::CertificateRequired,
            rustls::Error::AlertReceived(
                alert @ (AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                | AlertDescription::DecryptError),
            ) => Self::CertificateRefused(format!("{alert:?}")),
            rustls::Error::InvalidMessage(_) => Self::SpeaksPlainText,
            other => Self::Other(other.to_string()),
        }
    }

    /// Whether it stays until a setting or a certificate is changed: waiting does not help.
    pub const fn is_final(&self) -> bool {
        match self {
            Self::NothingListens(_)
            | Self::UnknownName(_)
            | Self::NoAnswer(_)
            | Self::Closed
            | Self::Other(_) => false,
            Self::UnknownAuthority(_)
            | Self::Expired
            | Self::NotYetValid
            | Self::WrongName(_)
            | Self::BadCertificate(_)
            | Self::CertificateRequired
            | Self::CertificateRefused(_)
            | Self::SpeaksPlainText
            | Self::SpeaksTls
            | Self::NotACoordinator => true,
        }
    }

    fn remedy(&self, role: &str) -> String {
        match self {
            Self::NothingListens(_) => {
                "is it running? start it with `coordinator serve`, and check the address".to_owned()
            }
            Self::UnknownName(_) => "check the name in the address, and the DNS of this machine".to_owned(),
            Self::NoAnswer(_) => {
                "it is frozen or overloaded, or a firewall is in between: look at its log, and check the address"
                    .to_owned()
            }
            Self::Closed => "it ends, or has too many connections: look at its log".to_owned(),
            Self::UnknownAuthority(_) => {
                "give the authority that signed the coordinator's certificate with --tls-ca".to_owned()
            }
            Self::Expired => "give the coordinator (`serve --tls-cert`) a new certificate and send it SIGHUP".to_owned(),
            Self::NotYetValid => "check the clocks of both machines, and the dates of the certificate".to_owned(),
            Self::WrongName(_) => {
                "use a name that is in the certificate, or give the coordinator a certificate with this name".to_owned()
            }
            Self::BadCertificate(_) => "give the coordinator another certificate (`serve --tls-cert`)".to_owned(),
            Self::CertificateRequired => format!(
                "give --tls-cert and --tls-key: a certificate of the role {role}, signed by an authority of the \
                 coordinator's --client-ca; a token alone is enough where the coordinator has --token-file"
            ),
            Self::CertificateRefused(_) => format!(
                "give with --tls-cert a valid certificate of the role {role}, signed by an authority of the coordinator's \
                 --client-ca"
            ),
            Self::SpeaksPlainText => {
                "give the coordinator a certificate (`serve --tls-cert`), or use http:// and --insecure on a network that \
                 you trust"
                    .to_owned()
            }
            Self::SpeaksTls => "use https:// with --tls-ca".to_owned(),
            Self::NotACoordinator => "check the address: it is that of --listen, not of --http".to_owned(),
            Self::Other(_) => "check the address".to_owned(),
        }
    }
}

/// An address that was tried, and why it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tried {
    /// Position of the address among those given.
    pub(super) route: usize,
    /// The address.
    pub(super) address: String,
    pub(super) cause: Cause,
}

/// No address of a coordinator could be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable(Vec<Tried>);

impl Unreachable {
    /// Of these failures, in the order in which the addresses were given.
    pub(super) fn new(mut tried: Vec<Tried>) -> Self {
        tried.sort_by_key(|tried| tried.route);
        Self(tried)
    }

    /// Finds it in a status; `None` where a coordinator was reached.
    pub fn of(status: &Status) -> Option<&Self> {
        let mut source = Error::source(status);
        while let Some(error) = source {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found);
            }
            source = error.source();
        }
        None
    }

    /// Whether no address works until a setting or a certificate is changed.
    pub fn is_final(&self) -> bool {
        self.0.iter().all(|tried| tried.cause.is_final())
    }

    /// The cause where one address was tried; `None`: there were several.
    pub fn only_cause(&self) -> Option<&Cause> {
        match self.0.as_slice() {
            [one] => Some(&one.cause),
            _ => None,
        }
    }

    /// The remedy: of a cause that waiting does not change, where there is one. `role`: what the program has to prove.
    pub fn remedy(&self, role: &str) -> String {
        let last = self.0.iter().find(|tried| tried.cause.is_final()).or(self.0.first());
        last.map(|tried| tried.cause.remedy(role)).unwrap_or_default()
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [one] = self.0.as_slice() {
            return write!(f, "cannot reach the coordinator at {}: {}", one.address, one.cause);
        }
        f.write_str("no coordinator answers at ")?;
        for (number, Tried { address, cause, .. }) in self.0.iter().enumerate() {
            write!(f, "{}{address} ({cause})", if number == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl Error for Unreachable {}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(route: usize, address: &str, cause: Cause) -> Tried {
        Tried { route, address: address.to_owned(), cause }
    }

    #[test]
    fn each_address_is_named_with_its_own_reason_in_the_order_given() {
        let nothing = || Cause::NothingListens("Connection refused".to_owned());
        let one = Unreachable::new(vec![tried(0, "http://a:1", nothing())]);
        assert_eq!(one.to_string(), "cannot reach the coordinator at http://a:1: Connection refused");
        assert!(one.remedy("worker").contains("is it running?") && !one.is_final());
        let several = Unreachable::new(vec![
            tried(1, "https://b:1", Cause::Expired),
            tried(0, "https://a:1", Cause::NoAnswer(Duration::from_secs(2))),
        ]);
        assert_eq!(
            several.to_string(),
            "no coordinator answers at https://a:1 (no answer within 2 s), https://b:1 (its certificate has expired)"
        );
        assert!(!several.is_final() && several.only_cause().is_none(), "the first may come back");
        assert!(several.remedy("worker").contains("a new certificate"));
    }

    #[test]
    fn errors_of_tls_are_told_apart() {
        use CertificateError as Bad;
        use rustls::Error as Tls;

        let of = |error| Cause::of(&io::Error::new(io::ErrorKind::InvalidData, error));
        let alert = |alert| of(Tls::AlertReceived(alert));
        assert!(matches!(of(Bad::UnknownIssuer.into()), Cause::UnknownAuthority(_)));
        assert!(matches!(of(Bad::BadSignature.into()), Cause::UnknownAuthority(_)));
        assert_eq!(of(Bad::Expired.into()), Cause::Expired);
        assert!(matches!(of(Bad::NotValidForName.into()), Cause::WrongName(_)));
        assert!(matches!(of(Bad::Revoked.into()), Cause::BadCertificate(_)));
        assert_eq!(alert(AlertDescription::CertificateRequired), Cause::CertificateRequired);
        assert_eq!(alert(AlertDescription::UnknownCA), Cause::CertificateRefused("UnknownCA".to_owned()));
        let plain = Tls::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert_eq!(of(plain), Cause::SpeaksPlainText);
        assert!(Cause::CertificateRequired.remedy("worker").contains("the role worker"));
        assert_eq!(Cause::of(&io::ErrorKind::ConnectionReset.into()), Cause::Closed);
    }
}
