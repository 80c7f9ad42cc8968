//! E-mail over SMTP, with STARTTLS, TLS or (on the same machine) neither. The Message-ID is the message's key.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use lettre::message::{Mailbox, header};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::{Answer, Channel, Failure, SEND_TIMEOUT, Voice, install_ring};
use crate::model::Timestamp;
use crate::notify::Job;
use crate::notify::config::{Mail, MailTls};

/// The longest text, in bytes.
const MAX_TEXT: usize = 64 * 1024;

pub(super) struct Email {
    server: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
    people: BTreeMap<String, Mailbox>,
    voice: Voice,
}

impl Email {
    pub(super) fn new(mail: &Mail, voice: Voice) -> Result<Self, String> {
        install_ring();
        let tls = || {
            TlsParameters::new(mail.host.clone())
                .map_err(|why| format!("{}; install ca-certificates", crate::error_chain(&why)))
        };
        let tls = match mail.tls {
            MailTls::Starttls => Tls::Required(tls()?),
            MailTls::Implicit => Tls::Wrapper(tls()?),
            MailTls::None => Tls::None,
        };
        let mut server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&mail.host)
            .port(mail.port)
            .tls(tls)
            .timeout(Some(SEND_TIMEOUT));
        if let Some((user, secret)) = &mail.login {
            server = server.credentials(Credentials::new(user.clone(), secret.expose().to_owned()));
        }
        let mailbox = |address: &String| {
            address.parse::<Mailbox>().map_err(|why| format!("{address}: {why}"))
        };
        let people =
            mail.people.iter().map(|(name, address)| Ok((name.clone(), mailbox(address)?)));
        Ok(Email {
            server: server.build(),
            from: mailbox(&mail.from)?,
            to: mail.to.iter().map(mailbox).collect::<Result<_, _>>()?,
            people: people.collect::<Result<_, String>>()?,
            voice,
        })
    }

    fn letter(&self, job: &Job) -> Result<Message, Failure> {
        let mut to = self.to.clone();
        for person in job.notice.people.iter().filter_map(|name| self.people.get(name)) {
            if !to.contains(person) {
                to.push(person.clone());
            }
        }
        if to.is_empty() {
            let people = job.notice.people.join(", ");
            let why = format!(
                "nobody to write to: add `to`, or addresses in [notify.people] for: {people}"
            );
            return Err(Failure::Refused(why));
        }
        let domain = self.from.email.domain();
        let mut letter = Message::builder()
            .from(self.from.clone())
            .message_id(Some(format!("<{}@{domain}>", job.key)))
            .subject(self.voice.title(job))
            .header(header::ContentType::TEXT_PLAIN);
        for mailbox in to {
            letter = letter.to(mailbox);
        }
        letter
            .body(self.voice.body(job, MAX_TEXT, |line| format!("{line}\n")))
            .map_err(|why| Failure::Refused(crate::error_chain(&why)))
    }

    async fn post(&self, job: &Job) -> Result<Answer, Failure> {
        let letter = self.letter(job)?;
        // A server's "no for ever" may be about a login or an address that somebody puts right: it is tried for a day.
        let sent = self.server.send(letter).await;
        sent.map(|_| Answer::default()).map_err(|why| Failure::Temporary(crate::error_chain(&why)))
    }
}

impl Channel for Email {
    fn send<'a>(&'a self, job: &'a Job, _: Timestamp) -> BoxFuture<'a, Result<Answer, Failure>> {
        Box::pin(self.post(job))
    }
}

impl std::fmt::Debug for Email {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Email")
            .field("from", &self.from)
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}
