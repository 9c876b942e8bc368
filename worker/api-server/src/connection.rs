//! Asks one server for as long as it runs.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use domain::api_server::{ServerClass, ServerVerdict};
use engine::document::Identity;
use http::Method;
use serde_json::json;

use crate::answer::{badness, verdict};
use crate::control_plane::ControlPlane;
use crate::error::{ConnectError, PrepareError, Unreachable};
use crate::fixtures::{Fixture, Fixtures, Prepared};
use crate::limits::Limits;
use crate::names::{is_label, is_segment};
use crate::open::{Opened, open, version};
use crate::question::{Entry, Question, nameless, unsent};
use crate::served::{ServedKinds, encoded};
use crate::source::Source;
use crate::transport::{Ask, DRY_RUN, Http};

const YAML: &str = "application/yaml";
const JSON: &str = "application/json";
const APPLY: &str = "application/apply-patch+yaml";
/// Who applies, where an object exists.
const MANAGER: &str = "k8s-auto-fix";
/// Names of namespaces that are remembered.
const MOST_NAMESPACES: usize = 100_000;
/// How long new definitions may take until their kinds are served.
const SERVED_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at what is served.
const LOOK: Duration = Duration::from_millis(200);

/// One server for as long as it runs.
pub(crate) struct Connection {
    pub(crate) http: Http,
    served: RwLock<Arc<ServedKinds>>,
    /// Namespaces that were made, or were there.
    namespaces: Mutex<HashSet<String>>,
    pub(crate) control_plane: Option<ControlPlane>,
    pub(crate) flags: String,
}

impl Connection {
    pub(crate) async fn open(source: &Source, limits: &Limits) -> Result<(Self, String), ConnectError> {
        let Opened { http, control_plane, flags, version } = open(source, limits).await?;
        let served = RwLock::new(Arc::new(ServedKinds::ask(&http).await?));
        Ok((Self { http, served, namespaces: Mutex::default(), control_plane, flags }, version))
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.control_plane.as_ref().is_some_and(|control_plane| control_plane.ended().is_some())
    }

    /// The verdict, or at once that the control plane ended.
    pub(crate) async fn judge(&self, question: &Question, text: &str) -> Result<ServerVerdict, Unreachable> {
        let answer = self.answer(question, text);
        let Some(control_plane) = &self.control_plane else { return answer.await };
        tokio::select! {
            answered = answer => answered,
            why = control_plane.until_ended() => Err(Unreachable::Ended { why }),
        }
    }

    async fn answer(&self, question: &Question, text: &str) -> Result<ServerVerdict, Unreachable> {
        match question {
            Question::Unsent(verdict) => Ok(verdict.clone()),
            Question::One(identity) => self.ask(identity, YAML, text).await,
            Question::List(entries) => self.ask_all(entries).await,
        }
    }

    async fn ask_all(&self, entries: &[Entry]) -> Result<ServerVerdict, Unreachable> {
        let mut worst = ServerVerdict {
            class: ServerClass::Accepted,
            code: 201,
            causes: Vec::new(),
            message: None,
            warnings: Vec::new(),
        };
        for entry in entries {
            let mut found = match nameless(&entry.identity) {
                Some(verdict) => verdict,
                None => self.ask(&entry.identity, JSON, &entry.json).await?,
            };
            if !entry.duplicates.is_empty() && badness(found.class) < badness(ServerClass::StrictDecoding) {
                found.class = ServerClass::StrictDecoding;
                found.code = 400;
                found.causes.clone_from(&entry.duplicates);
                found.message = None;
            }
            if badness(found.class) > badness(worst.class) {
                worst = found;
            }
        }
        Ok(worst)
    }

    /// Asks about one object.
    async fn ask(
        &self,
        identity: &Identity,
        content_type: &'static str,
        content: &str,
    ) -> Result<ServerVerdict, Unreachable> {
        let served = self.served();
        let Some(kind) = served.of(&identity.api_version, &identity.kind) else {
            let message =
                format!("no matches for kind \"{}\" in version \"{}\"", identity.kind, identity.api_version);
            return Ok(unsent(ServerClass::UnknownKind, &message));
        };
        let namespace = identity.effective_namespace();
        if kind.namespaced {
            if !is_segment(namespace) {
                let message = format!("namespaces \"{namespace}\" not found");
                return Ok(ServerVerdict { code: 404, ..unsent(ServerClass::Namespace, &message) });
            }
            self.ensure_namespace(namespace).await?;
        }
        // Whether a namespace exists by then must not depend on which documents were asked before.
        if identity.kind == "Namespace" && identity.api_version == "v1" {
            self.ensure_namespace(&identity.name).await?;
        }
        let collection = kind.collection(&identity.api_version, namespace);
        let found = self.dry_run(Method::POST, &collection, "", identity, content_type, content).await?;
        if found.class == ServerClass::Conflict && self.control_plane.is_none() && is_segment(&identity.name)
        {
            return self.apply(&collection, identity, content, found).await;
        }
        Ok(found)
    }

    /// Asks a cluster that has the object whether it would take the document in its place.
    async fn apply(
        &self,
        collection: &str,
        identity: &Identity,
        content: &str,
        exists: ServerVerdict,
    ) -> Result<ServerVerdict, Unreachable> {
        let path = format!("{collection}/{}", encoded(&identity.name));
        let manager = format!("&fieldManager={MANAGER}&force=true");
        let found = self.dry_run(Method::PATCH, &path, &manager, identity, APPLY, content).await?;
        let of_apply =
            found.message.as_deref().is_some_and(|message| message.contains("managedFields must be nil"));
        if found.class == ServerClass::Accepted || of_apply {
            return Ok(ServerVerdict { warnings: found.warnings, ..exists });
        }
        Ok(found)
    }

    async fn dry_run(
        &self,
        method: Method,
        path: &str,
        further: &str,
        identity: &Identity,
        content_type: &'static str,
        content: &str,
    ) -> Result<ServerVerdict, Unreachable> {
        let path = format!("{path}?{DRY_RUN}&fieldValidation=Strict{further}");
        let reply = self.http.send(&Ask::send(method, path, content_type, content)).await?;
        // A proxy may answer 200 with a page of its own.
        if reply.is_success() && reply.status.kind != identity.kind && reply.status.kind != "Status" {
            return Err(self.http.odd(&format!("HTTP {} without the object that was sent", reply.code)));
        }
        if reply.code >= 500 && version(&self.http).await.is_err() {
            return Err(self.http.odd(&format!("HTTP {}: {}", reply.code, reply.status.message())));
        }
        Ok(verdict(&reply))
    }

    fn served(&self) -> Arc<ServedKinds> {
        Arc::clone(&self.served.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes a namespace of a control plane of our own, if its name is valid.
    async fn ensure_namespace(&self, name: &str) -> Result<(), Unreachable> {
        if self.control_plane.is_none() || !is_label(name) {
            return Ok(());
        }
        let known = |names: &Mutex<HashSet<String>>| {
            names.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
        };
        if known(&self.namespaces) {
            return Ok(());
        }
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.create("/api/v1/namespaces", &namespace.to_string()).await?;
        let mut names = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() < MOST_NAMESPACES {
            names.insert(name.to_owned());
        }
        Ok(())
    }

    /// Creates an object; [`Http`] refuses that for a cluster. An object that exists is left as it is.
    async fn create(&self, collection: &str, json: &str) -> Result<ServerVerdict, Unreachable> {
        Ok(verdict(&self.http.send(&Ask::send(Method::POST, collection.to_owned(), JSON, json)).await?))
    }

    pub(crate) async fn install(&self, fixtures: &Fixtures) -> Result<Prepared, PrepareError> {
        let mut prepared = Prepared::default();
        for fixture in &fixtures.seed {
            let found = self.write(fixture).await?;
            if !found.class.accepts() {
                return Err(PrepareError::Fixture {
                    name: fixture.title(),
                    message: found.errors().join("; "),
                });
            }
            prepared.fixtures += 1;
        }
        let mut expected = Vec::new();
        for fixture in fixtures.definitions.values() {
            let found = self.write(fixture).await?;
            if found.class.accepts() {
                prepared.definitions += 1;
                expected.push(fixture);
            } else {
                prepared.refused.push((fixture.name.clone(), found.errors().join("; ")));
            }
        }
        self.await_served(&expected).await?;
        Ok(prepared)
    }

    async fn write(&self, fixture: &Fixture) -> Result<ServerVerdict, Unreachable> {
        let served = self.served();
        let Some(kind) = served.of(&fixture.api_version, &fixture.kind) else {
            let message =
                format!("no matches for kind \"{}\" in version \"{}\"", fixture.kind, fixture.api_version);
            return Ok(unsent(ServerClass::UnknownKind, &message));
        };
        if kind.namespaced {
            self.ensure_namespace(&fixture.namespace).await?;
        }
        self.create(&kind.collection(&fixture.api_version, &fixture.namespace), &fixture.json).await
    }

    /// Waits until the kinds of new definitions are served.
    async fn await_served(&self, definitions: &[&Fixture]) -> Result<(), PrepareError> {
        if definitions.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        loop {
            let served = ServedKinds::ask(&self.http).await?;
            let missing: Vec<&&Fixture> = definitions
                .iter()
                .filter(|definition| {
                    definition.serves.iter().any(|(version, kind)| served.of(version, kind).is_none())
                })
                .collect();
            let first = missing.first().map(|definition| definition.name.clone());
            let Some(first) = first else {
                *self.served.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(served);
                return Ok(());
            };
            if start.elapsed() > SERVED_WITHIN {
                let seconds = SERVED_WITHIN.as_secs();
                return Err(PrepareError::NotServed { count: missing.len(), first, seconds });
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
