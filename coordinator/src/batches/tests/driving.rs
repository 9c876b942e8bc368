//! The driver against the simulated provider over HTTP, ended at random moments.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::answer::{Message, Question, Role, Sampling};
use domain::budget::{Price, Usd};
use domain::config::ProposerMode;
use domain::ids::RunId;
use llm::batch::BatchClient;
use llm::providers::{ProviderConfig, Providers};
use mock_llm::manner::Manner;
use mock_llm::{Allowed, BatchReport, BatchSettings, Cached, HeaderStyle, Provider, Settings};

use crate::batches::collect::Collected;
use crate::batches::driver::Driver;
use crate::batches::error::BatchError;
use crate::batches::gather::{FileBounds, Gathered, Gatherer};
use crate::batches::lifecycle::Patience;
use crate::batches::record::Target;
use crate::embedded::FirstQuestion;
use crate::llm_gateway::response_cache::OwnerLock;
use crate::llm_gateway::response_cache::{Answers as _, ResponseCache};

/// A provider, and the disk of its client.
struct Scene {
    provider: Provider,
    endpoint: String,
    folder: tempfile::TempDir,
}

impl Scene {
    async fn start(faults: &str, delay: f64) -> Self {
        let settings = Settings {
            allowed: Allowed::default(),
            style: HeaderStyle::default(),
            cached: Cached::default(),
            manner: Manner::default(),
            batches: BatchSettings { delay, faults: faults.parse().unwrap() },
            latency: "0".parse().unwrap(),
            faults: "".parse().unwrap(),
            answers: Arc::new(|prompt| Some(format!("answer to {prompt}"))),
            speed: 1.0,
            seed: 11,
        };
        let provider = Provider::new(settings).unwrap();
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/v1/chat/completions", socket.local_addr().unwrap());
        tokio::spawn(mock_llm::serve(socket, provider.clone(), std::future::pending()));
        Self { provider, endpoint, folder: tempfile::tempdir().unwrap() }
    }

    fn report(&self) -> BatchReport {
        self.provider.report().batches
    }

    fn question(&self, number: usize) -> Question {
        Question {
            endpoint: self.endpoint.clone(),
            model: "m".to_owned(),
            messages: vec![Message::new(Role::User, format!("question {number}"))],
            sampling: Sampling::default(),
            sample: 0,
        }
    }

    /// A process that asks these questions.
    fn process(&self, run_id: &str, questions: std::ops::Range<usize>) -> Process<'_> {
        let cache = Arc::new(ResponseCache::open(&self.folder.path().join("answers.sqlite")).unwrap());
        let lock = Arc::new(OwnerLock::take(&self.folder.path().join("batches")).unwrap());
        let provider = ProviderConfig { endpoint: self.endpoint.clone(), ..ProviderConfig::default() };
        let providers = Providers { vllm: provider, ..Providers::default() };
        let client = BatchClient::new(providers.open(ProposerMode::Vllm, |_| None).unwrap()).unwrap();
        let target =
            Target { provider: "vllm".to_owned(), endpoint: self.endpoint.clone(), model: "m".to_owned() };
        let driver = Driver {
            cache: Arc::clone(&cache),
            client,
            lock,
            target,
            patience: Patience { unseen_ms: 300, window_ms: 60_000, cancels: false },
            look: Duration::from_millis(100),
            window: "24h".to_owned(),
            price: Price { batch_factor: Some(0.5), ..Price::flat(1.0, None, 2.0) },
        };
        Process { scene: self, driver, run_id: RunId::new(run_id).unwrap(), questions }
    }

    fn answered(&self, questions: usize) -> usize {
        let cache = ResponseCache::open(&self.folder.path().join("answers.sqlite")).unwrap();
        let keys: Vec<_> = (0..questions).map(|number| self.question(number).key()).collect();
        let found = cache.look_up(&keys).unwrap();
        for ((_, answer), number) in found.iter().zip(0..) {
            if let Some(answer) = answer {
                assert_eq!(answer.answer.content, format!("answer to question {number}"));
            }
        }
        found.iter().filter(|(_, answer)| answer.is_some()).count()
    }
}

struct Process<'s> {
    scene: &'s Scene,
    driver: Driver,
    run_id: RunId,
    questions: std::ops::Range<usize>,
}

impl Process<'_> {
    fn gather(&self) -> Gathered {
        let bounds = FileBounds { lines: 25, bytes: 100_000 };
        let target = self.driver.target.clone();
        let mut gatherer =
            Gatherer::new(&self.driver.cache, &self.driver.lock, self.run_id.clone(), target, bounds);
        for number in self.questions.clone() {
            let question = self.scene.question(number);
            let (key, line) = (question.key(), llm::batch::line(&question.key(), &question));
            gatherer.add(FirstQuestion { key, line, prompt_tokens: 5, answer_tokens: 7 }).unwrap();
        }
        gatherer.finish().unwrap()
    }

    /// Goes on until nothing is left to put into a batch.
    async fn deliver(&self) -> Result<Collected, BatchError> {
        let mut all = Collected::default();
        loop {
            let gathered = self.gather();
            if gathered.marks.is_empty() {
                return Ok(all);
            }
            all += self.driver.work(&gathered.marks, &mut |_| {}).await?;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_questions_are_answered_by_batches() {
    let scene = Scene::start("", 0.1).await;
    let process = scene.process("r", 0..120);
    let collected = process.deliver().await.unwrap();
    assert_eq!((collected.answered, collected.failed, collected.surplus), (120, 0, 0));
    assert_eq!(scene.answered(120), 120);
    let report = scene.report();
    assert_eq!((report.created, report.lines_paid, report.distinct_paid), (5, 120, 120));
    let spent = process.driver.cache.spent_of(&[RunId::new("r").unwrap()]).unwrap();
    assert_eq!((spent[0].1.calls, spent[0].1.failed), (120, 0));
    assert!(spent[0].1.cost > Usd::ZERO);
    // A second run asks nothing.
    assert_eq!(scene.process("s", 0..120).deliver().await.unwrap().answered, 0);
    assert_eq!(scene.report().created, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_leaves_each_line_paid_for_once() {
    let faults = "expire=0.3,fail=0.1,lose-upload=0.2,lose-create=0.4,late-output=0.4,poll-500=0.2,break=0.3,duplicate=0.2,\
                  missing=0.05,line-500=0.05,shuffle=1";
    let scene = Scene::start(faults, 0.05).await;
    scene.process("r", 0..300).deliver().await.unwrap();
    let report = scene.report();
    assert_eq!(report.lines_paid, report.distinct_paid, "{report:?}");
    assert_eq!(scene.answered(300) as u64, report.lines_paid, "{report:?}");
    // The few that were in three batches in vain are left to live calls.
    assert!(report.lines_paid >= 240, "{report:?}");
    for fault in ["lose-create", "duplicate", "missing", "line-500", "poll-500", "break"] {
        assert!(report.faults.contains_key(fault), "{fault}: {report:?}");
    }
    assert!(report.ended.contains_key("expired"), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_dies_at_any_moment_pays_nothing_twice() {
    let scene = Scene::start("lose-create=0.3,duplicate=0.1,shuffle=1,late-output=0.3", 0.2).await;
    let mut random = fastrand::Rng::with_seed(5);
    let mut died = 0;
    for _ in 0..30 {
        let process = scene.process("r", 0..200);
        let life = Duration::from_millis(random.u64(1..250));
        if let Ok(ended) = tokio::time::timeout(life, process.deliver()).await {
            ended.unwrap();
            break;
        }
        died += 1;
    }
    scene.process("r", 0..200).deliver().await.unwrap();
    let report = scene.report();
    assert!(died >= 3, "{died}");
    assert_eq!((report.lines_paid, report.distinct_paid), (200, 200), "{report:?}");
    assert_eq!(scene.answered(200), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_with_the_same_questions_pay_for_one_line_each() {
    let scene = Scene::start("", 0.3).await;
    let (one, other) = (scene.process("r", 0..100), scene.process("s", 50..150));
    let (one, other) = tokio::join!(one.deliver(), other.deliver());
    assert_eq!(one.unwrap().answered + other.unwrap().answered, 150);
    let report = scene.report();
    assert_eq!((report.lines_paid, report.distinct_paid), (150, 150), "{report:?}");
    assert_eq!(scene.answered(150), 150);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_fails_for_good_is_asked_once() {
    let scene = Scene::start("line-403=0.2", 0.05).await;
    let collected = scene.process("r", 0..100).deliver().await.unwrap();
    assert!(collected.failed > 5 && collected.answered + collected.failed == 100, "{collected:?}");
    let report = scene.report();
    assert_eq!(report.lines, 100, "no line is submitted twice: {report:?}");
    let marks: BTreeSet<_> = scene.process("r", 0..100).gather().marks;
    assert_eq!(marks.len(), 0);
}
