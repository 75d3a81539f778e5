//! One server, asked over one connection. Every question has a bound in time.

use crate::wire::{Authenticate, Authenticated, Grant, Granted, Lease, Range, Ranged, Renewed};
use crate::wire::{Revoked, Txn, TxnAnswer, WatchCreate, WatchRequest, Watched};
use crate::{Credentials, Login};
use bytes::Bytes;
use flockwork_registry::Failure;
use futures_util::{Stream, StreamExt, stream};
use http::uri::PathAndQuery;
use std::time::Duration;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// The largest answer: [`READS`](crate::interpreter) values of the largest size stay below.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of the watch that may wait to be read, and of the whole connection: all answers pass
/// however much the watch has to tell.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 32 * 1024 * 1024;

/// Why a question has no answer.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Nobody knows what became of it.
    Lost(String),
    /// The lease it names does not live; nothing happened.
    NoLease,
    /// The login has run out; nothing happened.
    Login(String),
    /// The servers refuse it; nothing happened.
    Refused(Failure),
}

impl Fault {
    /// For people.
    pub(crate) fn why(&self) -> String {
        match self {
            Self::Lost(why) | Self::Login(why) => why.clone(),
            Self::NoLease => "the lease does not live".to_owned(),
            Self::Refused(failure) => failure.to_string(),
        }
    }
}

/// What etcd's words mean (`api/v3rpc/rpctypes/error.go`). What is not named here may have happened.
fn fault(status: &Status) -> Fault {
    let says = |part: &str| status.message().contains(part);
    let refused = |failure: fn(String) -> Failure| {
        Fault::Refused(failure(status.message().trim_start_matches("etcdserver: ").to_owned()))
    };
    let too_large = |what| {
        Fault::Refused(Failure::TooLarge { what, actual: ANSWER_BYTES, limit: ANSWER_BYTES })
    };
    match status.code() {
        Code::NotFound if says("requested lease not found") => Fault::NoLease,
        Code::ResourceExhausted if says("database space exceeded") => refused(Failure::Full),
        Code::ResourceExhausted if says("too many requests") => refused(Failure::NotSent),
        Code::OutOfRange if says("message length too large") => {
            too_large("the answer to a read, in bytes,")
        }
        Code::InvalidArgument if says("is too large") => too_large("a request for etcd, in bytes,"),
        Code::InvalidArgument if says("too many operations") => {
            refused(|why| Failure::NotSent(format!("{why}; is --max-txn-ops below 128?")))
        }
        Code::PermissionDenied => refused(Failure::Denied),
        Code::InvalidArgument if says("user name is empty") => refused(Failure::Denied),
        Code::InvalidArgument if says("authentication failed") => refused(Failure::Denied),
        Code::Unauthenticated => Fault::Login(status.message().to_owned()),
        _ => Fault::Lost(said(status)),
    }
}

/// What a status says, for people, with all that lies under it.
pub(crate) fn said(status: &Status) -> String {
    under(status.message().to_owned(), std::error::Error::source(status))
}

/// An error with all that lies under it.
fn causes(error: &dyn std::error::Error) -> String {
    under(error.to_string(), error.source())
}

fn under(mut text: String, mut next: Option<&(dyn std::error::Error + 'static)>) -> String {
    while let Some(cause) = next {
        let lower = cause.to_string();
        if !text.contains(&lower) {
            text = format!("{text}: {lower}");
        }
        next = cause.source();
    }
    text
}

#[derive(Clone, Debug)]
pub(crate) struct Server {
    grpc: Grpc<Channel>,
    token: Option<MetadataValue<Ascii>>,
    patience: Duration,
}

impl Server {
    /// Connects, and logs in if there is a user.
    pub(crate) async fn connect(
        server: &str,
        credentials: &Credentials,
        patience: Duration,
    ) -> Result<Self, String> {
        let told = |why: String| format!("{server}: {why}");
        let endpoint = endpoint(server, credentials).map_err(told)?;
        let connecting = endpoint
            .connect_timeout(patience)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let channel = timeout(patience, connecting.connect()).await;
        let channel = channel.map_err(|_| told(format!("no connection within {patience:?}")))?;
        let channel = channel.map_err(|error| told(causes(&error)))?;
        let grpc = Grpc::new(channel)
            .max_decoding_message_size(ANSWER_BYTES)
            .max_encoding_message_size(ANSWER_BYTES);
        let mut server = Self { grpc, token: None, patience };
        if let Some(user) = &credentials.user {
            server.log_in(user).await.map_err(|fault| told(fault.why()))?;
        }
        Ok(server)
    }

    async fn log_in(&mut self, user: &Login) -> Result<(), Fault> {
        let (name, password) = user.reveal().split_once(':').unwrap_or_default();
        let question = Authenticate { name: name.to_owned(), password: password.to_owned() };
        let Authenticated { token } = self.ask("/etcdserverpb.Auth/Authenticate", question).await?;
        let token = token.parse().map_err(|_| Fault::Login("a token is no text".to_owned()))?;
        self.token = Some(token);
        Ok(())
    }

    fn request<Q>(&self, question: Q) -> Request<Q> {
        let mut request = Request::new(question);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }

    async fn bounded<T>(&self, asked: impl Future<Output = Result<T, Status>>) -> Result<T, Fault> {
        match timeout(self.patience, asked).await {
            Ok(answer) => answer.map_err(|status| fault(&status)),
            Err(_) => Err(Fault::Lost(format!("no answer within {:?}", self.patience))),
        }
    }

    async fn ask<Q, A>(&self, path: &'static str, question: Q) -> Result<A, Fault>
    where
        Q: prost::Message + Default + 'static,
        A: prost::Message + Default + 'static,
    {
        let mut grpc = self.grpc.clone();
        let request = self.request(question);
        let asked = async {
            grpc.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
            let codec = ProstCodec::<Q, A>::default();
            grpc.unary(request, PathAndQuery::from_static(path), codec).await
        };
        Ok(self.bounded(asked).await?.into_inner())
    }

    async fn stream<Q, A>(
        &self,
        path: &'static str,
        questions: impl Stream<Item = Q> + Send + 'static,
    ) -> Result<Streaming<A>, Fault>
    where
        Q: prost::Message + Default + Send + 'static,
        A: prost::Message + Default + Send + 'static,
    {
        let mut grpc = self.grpc.clone();
        let request = self.request(questions);
        let asked = async {
            grpc.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
            let codec = ProstCodec::<Q, A>::default();
            grpc.streaming(request, PathAndQuery::from_static(path), codec).await
        };
        Ok(self.bounded(asked).await?.into_inner())
    }

    pub(crate) async fn txn(&self, txn: Txn) -> Result<TxnAnswer, Fault> {
        self.ask("/etcdserverpb.KV/Txn", txn).await
    }

    /// Reads what is newest at the time.
    pub(crate) async fn range(&self, key: Bytes) -> Result<Ranged, Fault> {
        self.ask("/etcdserverpb.KV/Range", Range { key, ..Range::default() }).await
    }

    pub(crate) async fn grant(&self, ttl: Duration) -> Result<Granted, Fault> {
        let ttl = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        self.ask("/etcdserverpb.Lease/LeaseGrant", Grant { ttl }).await
    }

    pub(crate) async fn revoke(&self, lease: i64) -> Result<(), Fault> {
        let Revoked {} = self.ask("/etcdserverpb.Lease/LeaseRevoke", Lease { lease }).await?;
        Ok(())
    }

    pub(crate) async fn keep_alive(&self, lease: i64) -> Result<Renewed, Fault> {
        let question = stream::iter([Lease { lease }]);
        let mut answers = self.stream("/etcdserverpb.Lease/LeaseKeepAlive", question).await?;
        let none = || Status::unavailable("the server answered nothing");
        self.bounded(async { answers.message().await?.ok_or_else(none) }).await
    }

    /// Watches a range from a revision on, once the server has confirmed it.
    pub(crate) async fn watch(
        &self,
        (key, end): (Bytes, Bytes),
        from: i64,
    ) -> Result<Streaming<Watched>, Fault> {
        let create = Some(WatchCreate { key, end, from, fragment: true });
        // The server ends the watch when the questions end.
        let question = stream::iter([WatchRequest { create }]).chain(stream::pending());
        let mut told: Streaming<Watched> =
            self.stream("/etcdserverpb.Watch/Watch", question).await?;
        let first = self.bounded(async { told.message().await }).await?;
        match first {
            Some(Watched { created: true, canceled: false, .. }) => Ok(told),
            Some(other) => Err(Fault::Lost(format!("no watch is set: {}", other.reason))),
            None => Err(Fault::Lost("no watch is set".to_owned())),
        }
    }
}

#[cfg(feature = "tls")]
fn endpoint(server: &str, credentials: &Credentials) -> Result<Endpoint, String> {
    let scheme = if credentials.tls.is_some() { "https" } else { "http" };
    let told = |error: tonic::transport::Error| causes(&error);
    let endpoint = Endpoint::from_shared(format!("{scheme}://{server}")).map_err(told)?;
    match &credentials.tls {
        Some(tls) => endpoint.tls_config(tls.config()).map_err(told),
        None => Ok(endpoint),
    }
}

#[cfg(not(feature = "tls"))]
fn endpoint(server: &str, _: &Credentials) -> Result<Endpoint, String> {
    Endpoint::from_shared(format!("http://{server}")).map_err(|error| causes(&error))
}
