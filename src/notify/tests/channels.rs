//! Each channel against a fake of its service that enforces the real limits.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::*;
use crate::clock::ManualClock;
use crate::notify::channel::{self, Answer, Channel, Publish};
use crate::notify::notifier::{MoveRequest, Moves, Notifier, NotifierThread, Parts};
use crate::notify::{MessageQuery, list};

/// No broker of our own here.
#[derive(Debug)]
struct NoBroker;

impl Publish for NoBroker {
    fn publish(&self, _: &str, _: &[u8]) -> Result<(), String> {
        Err("there is no broker".to_owned())
    }
}

fn build(settings: &Settings) -> Vec<Box<dyn Channel>> {
    let town = Label::new("乌镇", "Wuzhen");
    let broker: Arc<dyn Publish> = Arc::new(NoBroker);
    settings.channels.iter().map(|spec| channel::build(spec, &town, &broker).unwrap()).collect()
}

/// A robot's service: signature, 20 in a sliding minute, else nothing for ten minutes; time is the test's.
struct Robot {
    clock: Clock,
    secret: Option<&'static str>,
    taken: VecDeque<Timestamp>,
    throttled_until: Option<Timestamp>,
    texts: Vec<Value>,
    throttles: usize,
}

type Shared<T> = Arc<Mutex<T>>;

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn robot(clock: Clock, secret: Option<&'static str>) -> (SocketAddr, Shared<Robot>) {
    let robot = Robot {
        clock,
        secret,
        taken: VecDeque::new(),
        throttled_until: None,
        texts: Vec::new(),
        throttles: 0,
    };
    let robot = Arc::new(Mutex::new(robot));
    let router = Router::new().route("/send", post(take)).with_state(Arc::clone(&robot));
    (serve(router).await, robot)
}

async fn take(
    State(robot): State<Shared<Robot>>,
    Query(query): Query<std::collections::HashMap<String, String>>,
    body: Bytes,
) -> Response {
    let answer = |code: i64, text: &str| {
        axum::Json(json!({ "errcode": code, "errmsg": text })).into_response()
    };
    let mut robot = robot.lock().unwrap();
    let now = robot.clock.now();
    if let Some(secret) = robot.secret {
        let time = query.get("timestamp").cloned().unwrap_or_default();
        let mac = channel::hmac_sha256(secret, &[time.as_bytes(), b"\n", secret.as_bytes()]);
        let expected = base64::engine::general_purpose::STANDARD.encode(mac);
        let age = now.as_millis() - time.parse::<i64>().unwrap_or_default();
        if query.get("sign") != Some(&expected) || age.abs() > 3_600_000 {
            return answer(310_000, "sign not match");
        }
    }
    if query.get("access_token").map(String::as_str) != Some("t0ken") {
        return answer(300_005, "token is not exist");
    }
    if robot.throttled_until.is_some_and(|until| until > now) {
        robot.throttles += 1;
        return answer(130_101, "send too fast, exceed 20 times per minute");
    }
    robot.taken.retain(|taken| now.since(*taken) < Duration::from_secs(60));
    if robot.taken.len() >= 20 {
        robot.throttles += 1;
        robot.throttled_until = Some(now.plus(Duration::from_secs(600)));
        return answer(130_101, "send too fast, exceed 20 times per minute");
    }
    robot.taken.push_back(now);
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert!(body.to_string().len() <= 20_000 + 2_000, "too long for the service");
    robot.texts.push(body);
    answer(0, "ok")
}

/// Sends everything that is due with real channels until `until`, looking four times a second, later once.
async fn run(
    post: &mut Post,
    channels: &[Box<dyn Channel>],
    hand: &ManualClock,
    clock: &Clock,
    until: Timestamp,
) {
    while clock.now() < until {
        for job in post.step(clock.now(), &Map).unwrap() {
            let outcome = channels[job.channel].send(&job, clock.now()).await;
            hand.advance(Duration::from_millis(50));
            post.done(&job, outcome.map(|answer| answer.remark), clock.now()).unwrap();
        }
        let is_early = clock.now() < at(100);
        hand.advance(Duration::from_millis(if is_early { 250 } else { 1_000 }));
    }
}

fn robots(dingtalk: SocketAddr, wecom: SocketAddr) -> Settings {
    settings(&format!(
        "console_url = 'https://town.example'\n\
         [channels.ding]\nkind = 'dingtalk'\nurl = 'http://{dingtalk}/send?access_token=t0ken'\nsecret = 'this is secret'\n\
         [channels.wecom]\nkind = 'wecom'\nurl = 'http://{wecom}/send?access_token=t0ken'\nlanguage = 'en'\n\
         [[routes]]\nchannels = ['ding', 'wecom']\nfrom = 'info'"
    ))
}

#[tokio::test]
async fn a_storm_never_makes_the_robots_services_throttle() {
    let (clock, hand) = Clock::manual(at(0));
    let (dingtalk, ding) = robot(clock.clone(), Some("this is secret")).await;
    let (wecom, we) = robot(clock.clone(), None).await;
    let settings = robots(dingtalk, wecom);
    let channels = build(&settings);
    let town = Town::new();
    let mut post = town.open(&settings, at(0));
    for wave in 0..20_u64 {
        for id in wave * 60 + 1..=wave * 60 + 60 {
            let severity = Severity::ALL[(id % 4) as usize];
            town.raise(raised(id, severity, &format!("z{}:a{id}", id % 31)), clock.now());
        }
        run(&mut post, &channels, &hand, &clock, at(wave * 3 + 3)).await;
    }
    run(&mut post, &channels, &hand, &clock, at(700)).await;
    for robot in [&ding, &we] {
        let robot = robot.lock().unwrap();
        assert_eq!(robot.throttles, 0);
        assert!(robot.texts.len() > 10, "{}", robot.texts.len());
    }
    assert!(
        post.channels(at(700)).unwrap().iter().all(|state| state.waiting == 0 && !state.failing)
    );
    let long = we
        .lock()
        .unwrap()
        .texts
        .iter()
        .map(|body| body["markdown"]["content"].as_str().unwrap().len())
        .max();
    assert!(long.unwrap() <= 4_096, "{long:?}");
    let text = ding.lock().unwrap().texts[0]["markdown"]["text"].as_str().unwrap().to_owned();
    assert!(
        text.contains("红色") && text.contains("https://town.example/api/v1/notifications/"),
        "{text}"
    );
}

#[tokio::test]
async fn a_robot_that_somebody_else_used_up_rests_for_ten_minutes_and_a_wrong_key_is_said() {
    let (clock, hand) = Clock::manual(at(0));
    let (dingtalk, ding) = robot(clock.clone(), Some("this is secret")).await;
    let (wecom, _) = robot(clock.clone(), Some("another secret")).await;
    let settings = robots(dingtalk, wecom);
    let channels = build(&settings);
    let town = Town::new();
    let mut post = town.open(&settings, at(0));
    ding.lock().unwrap().taken.extend([at(0); 20]);
    for name in ["ding", "wecom"] {
        post.test(name, "wang", at(0)).unwrap();
    }
    run(&mut post, &channels, &hand, &clock, at(590)).await;
    let seen = {
        let ding = ding.lock().unwrap();
        (ding.throttles, ding.texts.len())
    };
    assert_eq!(seen, (1, 0), "one knock, then rest");
    let states = post.channels(clock.now()).unwrap();
    assert!(states[0].hold_until.is_some() && states[0].failing, "{:?}", states[0]);
    assert_eq!(states[1].last_error.as_deref(), Some("error 310000: sign not match"));
    run(&mut post, &channels, &hand, &clock, at(610)).await;
    assert_eq!(ding.lock().unwrap().texts.len(), 1);
}

/// What a webhook's receiver does next.
#[derive(Debug, Clone)]
enum Mood {
    Answer(u16, &'static str, String),
    Hang,
}

struct Hook {
    mood: Mood,
    seen: mpsc::UnboundedSender<(HeaderMap, Bytes)>,
}

async fn hook() -> (SocketAddr, Shared<Hook>, mpsc::UnboundedReceiver<(HeaderMap, Bytes)>) {
    let (seen, requests) = mpsc::unbounded_channel();
    let hook = Arc::new(Mutex::new(Hook { mood: Mood::Answer(200, "", String::new()), seen }));
    let router = Router::new().route("/hook", post(on_hook)).with_state(Arc::clone(&hook));
    (serve(router).await, hook, requests)
}

async fn on_hook(State(hook): State<Shared<Hook>>, headers: HeaderMap, body: Bytes) -> Response {
    let mood = {
        let hook = hook.lock().unwrap();
        hook.seen.send((headers, body)).unwrap();
        hook.mood.clone()
    };
    match mood {
        Mood::Answer(status, retry_after, text) => {
            let mut response =
                (axum::http::StatusCode::from_u16(status).unwrap(), text).into_response();
            if !retry_after.is_empty() {
                response.headers_mut().insert("retry-after", retry_after.parse().unwrap());
            }
            response
        }
        Mood::Hang => std::future::pending().await,
    }
}

fn trial(channel: &str, post: &mut Post, now: Timestamp) -> Job {
    post.test(channel, "wang", now).unwrap();
    post.step(now, &Map).unwrap().remove(0)
}

fn hook_settings(address: SocketAddr, more: &str) -> Settings {
    settings(&format!(
        "[channels.hook]\nkind = 'webhook'\nurl = 'http://{address}/hook?key=hidden'\nsecret = 'Jefe'\n{more}"
    ))
}

#[tokio::test]
async fn a_webhook_gets_a_signed_payload_that_can_open_a_ticket() {
    let (address, hook, mut requests) = hook().await;
    let settings = hook_settings(address, "language = 'en'\nmoves_as = 'robot'");
    let channels = build(&settings);
    let town = Town::new();
    let mut post = town.open(&settings, at(0));
    town.raise(raised(1, Severity::Critical, "west:a"), at(0));
    post.step(at(0), &Map).unwrap();
    let job = post.step(at(1), &Map).unwrap().remove(0);
    let answer = channels[0].send(&job, at(1)).await.unwrap();
    assert_eq!(answer, Answer::default());
    let (headers, body) = requests.recv().await.unwrap();
    let seconds = headers["x-townhub-timestamp"].to_str().unwrap();
    assert_eq!(seconds, "1790000001");
    let mac = channel::hmac_sha256("Jefe", &[seconds.as_bytes(), b".", &body]);
    let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(headers["x-townhub-signature"], format!("sha256={hex}"));
    assert_eq!(headers["idempotency-key"], job.key);
    let payload: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(payload["id"], job.key);
    assert_eq!(payload["title"], "[Wuzhen] critical alert: west:a Surcharge");
    assert_eq!((&payload["total"], &payload["alerts"]), (&json!(1), &json!([1])));
    let entry = &payload["entries"][0];
    assert_eq!((&entry["about"], &entry["event"]), (&json!("alert"), &json!("alert.raised")));
    assert_eq!(
        (&entry["asset"], &entry["value"], &entry["unit"]),
        (&json!("west:a"), &json!(2.5), &json!("m"))
    );

    // Answers: a move, one that is none, and none.
    let said = |text: Value| hook.lock().unwrap().mood = Mood::Answer(200, "", text.to_string());
    said(json!({ "case": 5, "version": 2, "move": "accept", "note": "T-17" }));
    let (user, wanted) = channels[0].send(&job, at(2)).await.unwrap().moves.unwrap();
    assert_eq!((user.as_str(), wanted.case, wanted.version), ("robot", 5, 2));
    said(json!({ "case": 5, "version": 2, "move": "burn" }));
    let answer = channels[0].send(&job, at(2)).await.unwrap();
    assert!(answer.remark.unwrap().contains("unknown variant `burn`"));
    said(json!({ "ticket": "T-17" }));
    assert_eq!(channels[0].send(&job, at(2)).await.unwrap(), Answer::default());
}

#[tokio::test]
async fn a_webhook_that_fails_says_what_may_help_and_never_its_url() {
    let (address, hook, _requests) = hook().await;
    let settings = hook_settings(address, "");
    let channels = build(&settings);
    let town = Town::new();
    let mut post = town.open(&settings, at(0));
    let job = trial("hook", &mut post, at(0));
    let outcome = |status, retry_after| {
        hook.lock().unwrap().mood = Mood::Answer(status, retry_after, "no ticket queue".to_owned());
        channels[0].send(&job, at(0))
    };
    let failed = outcome(500, "").await.unwrap_err();
    let said = "the receiver answered 500 Internal Server Error: no ticket queue";
    assert_eq!(failed, Failure::Temporary(said.to_owned()));
    assert!(matches!(outcome(404, "").await, Err(Failure::Temporary(_))));
    assert!(
        matches!(outcome(302, "").await, Err(Failure::Temporary(_))),
        "no redirect is followed"
    );
    assert!(matches!(outcome(422, "").await, Err(Failure::Refused(_))));
    let wait = |seconds| Duration::from_secs(seconds);
    assert!(
        matches!(outcome(429, "7").await, Err(Failure::Throttled { wait: w, .. }) if w == wait(7))
    );
    assert!(
        matches!(outcome(503, "99999999").await, Err(Failure::Throttled { wait: w, .. }) if w == wait(3_600))
    );
    let nobody = build(&hook_settings("127.0.0.1:1".parse().unwrap(), ""));
    let Err(Failure::Temporary(why)) = nobody[0].send(&job, at(0)).await else {
        panic!("nobody listens there")
    };
    assert!(!why.contains("hidden") && !why.is_empty(), "{why}");
}

/// What a receiver's answers wanted to move.
struct Mover(mpsc::UnboundedSender<(String, MoveRequest)>);

impl Moves for Mover {
    fn make(&self, user: String, request: MoveRequest) -> BoxFuture<'_, String> {
        let said =
            format!("case {}: {}, version {}", request.case, request.kind, request.version + 1);
        self.0.send((user, request)).unwrap();
        Box::pin(std::future::ready(said))
    }
}

struct Running {
    notifier: Notifier,
    thread: NotifierThread,
    down: watch::Sender<bool>,
    tasks: tokio::task::JoinHandle<&'static str>,
    moves: mpsc::UnboundedReceiver<(String, MoveRequest)>,
}

fn start(town: &Town, settings: &Settings, clock: &Clock) -> Running {
    let (wanted, moves) = mpsc::unbounded_channel();
    let parts = Parts {
        post: town.open(settings, clock.now()),
        around: Box::new(Map),
        moves: Arc::new(Mover(wanted)),
        broker: Arc::new(NoBroker),
        troubles: crate::trouble::Troubles::default(),
        town: Label::new("乌镇", "Wuzhen"),
        clock: clock.clone(),
    };
    let (notifier, thread, tasks) = Notifier::start(parts).unwrap();
    let (down, is_down) = watch::channel(false);
    Running { notifier, thread, down, tasks: tokio::spawn(tasks.run(is_down)), moves }
}

#[tokio::test]
async fn a_hanging_receiver_harms_only_its_channel_and_goes_on_after_a_restart() {
    let (stuck, hanging, mut knocks) = hook().await;
    hanging.lock().unwrap().mood = Mood::Hang;
    let (well, listening, mut requests) = hook().await;
    let answer = json!({ "case": 5, "version": 2, "move": "accept" }).to_string();
    listening.lock().unwrap().mood = Mood::Answer(201, "", answer);
    let settings = settings(&format!(
        "[channels.stuck]\nkind = 'webhook'\nurl = 'http://{stuck}/hook'\n\
         [channels.well]\nkind = 'webhook'\nurl = 'http://{well}/hook'\nmoves_as = 'robot'"
    ));
    let (clock, hand) = Clock::manual(at(0));
    let town = Town::new();
    let mut hub = start(&town, &settings, &clock);
    town.raise(raised(1, Severity::Critical, "west:a"), at(0));
    hub.notifier.tick();
    // Asked after the tick, so answered after it.
    hub.notifier.ask(|_| Ok(())).await.unwrap();
    hand.advance(Duration::from_secs(1));
    hub.notifier.tick();
    let (first, _) = knocks.recv().await.unwrap();
    requests.recv().await.unwrap();
    let (user, wanted) = hub.moves.recv().await.unwrap();
    assert_eq!((user.as_str(), wanted.case), ("robot", 5));
    // The other channel goes on while this one hangs.
    let made = hub.notifier.ask(|desk| {
        let now = desk.now();
        desk.post.test("well", "wang", now)
    });
    made.await.unwrap();
    // The first one's outcome may still be on its way to the post.
    while requests.is_empty() {
        hub.notifier.tick();
        hub.notifier.ask(|_| Ok(())).await.unwrap();
        tokio::task::yield_now().await;
    }
    let sent = list(
        &town.db,
        &MessageQuery { channel: Some("well".into()), limit: 5, ..MessageQuery::default() },
    );
    let sent = sent.unwrap();
    assert_eq!(sent[1].answer.as_deref(), Some("case 5: accept, version 3"));
    // Going down does not wait for it.
    hub.down.send(true).unwrap();
    hub.tasks.await.unwrap();
    tokio::task::spawn_blocking(|| hub.thread.join()).await.unwrap();
    let stuck = list(
        &town.db,
        &MessageQuery { channel: Some("stuck".into()), limit: 5, ..MessageQuery::default() },
    );
    assert_eq!(stuck.unwrap()[0].state, crate::notify::State::Sending);

    hanging.lock().unwrap().mood = Mood::Answer(200, "", String::new());
    let hub = start(&town, &settings, &clock);
    hub.notifier.tick();
    let (second, _) = knocks.recv().await.unwrap();
    assert_eq!(first["idempotency-key"], second["idempotency-key"], "the same message");
    assert_eq!(
        (&first["x-townhub-attempt"], &second["x-townhub-attempt"]),
        (&"1".parse().unwrap(), &"2".parse().unwrap())
    );
    hub.down.send(true).unwrap();
    hub.tasks.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_never_answers_is_given_up_after_ten_seconds() {
    // Time runs by itself while nothing else does: nobody ever answers here.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = hook_settings(listener.local_addr().unwrap(), "");
    let channels = build(&settings);
    let town = Town::new();
    let mut post = town.open(&settings, at(0));
    let job = trial("hook", &mut post, at(0));
    let started = tokio::time::Instant::now();
    assert!(matches!(channels[0].send(&job, at(0)).await, Err(Failure::Temporary(_))));
    assert!(started.elapsed() <= channel::SEND_TIMEOUT + Duration::from_secs(1));
}

/// A mail server that takes everything, one connection after the other; what it got.
async fn mail_server() -> (SocketAddr, mpsc::UnboundedReceiver<(Vec<String>, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (got, letters) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let _ = stream.write_all(b"220 fake ESMTP\r\n").await;
            let (mut to, mut line) = (Vec::new(), String::new());
            while matches!(stream.read_line(&mut line).await, Ok(n) if n > 0) {
                let command = line.trim_end().to_owned();
                line.clear();
                let answer = match command.get(..4).unwrap_or_default() {
                    "EHLO" => "250-fake\r\n250 8BITMIME\r\n",
                    "RCPT" => {
                        to.push(command);
                        "250 ok\r\n"
                    }
                    "DATA" => {
                        let _ = stream.write_all(b"354 go on\r\n").await;
                        let mut letter = String::new();
                        while !letter.ends_with("\r\n.\r\n") {
                            stream.read_line(&mut letter).await.unwrap();
                        }
                        got.send((std::mem::take(&mut to), letter)).unwrap();
                        "250 taken\r\n"
                    }
                    "QUIT" => "221 bye\r\n",
                    _ => "250 ok\r\n",
                };
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    });
    (address, letters)
}

#[tokio::test]
async fn a_letter_goes_to_the_list_and_to_the_dispatched_people() {
    let (address, mut letters) = mail_server().await;
    let config = |more: &str| {
        settings(&format!(
            "[channels.mail]\nkind = 'email'\nhost = '{address}'\ntls = 'none'\nfrom = 'hub@town.example'\nlanguage = 'en'\n{more}\n\
             [people]\nzhang = 'zhang@town.example'"
        ))
    };
    let settings = config("to = ['duty@town.example']");
    let channels = build(&settings);
    let town = Town::new();
    let mut post = town.open(&settings, at(0));
    let mut job = trial("mail", &mut post, at(0));
    job.notice.people = vec!["zhang".to_owned(), "nobody-knows-his-address".to_owned()];
    channels[0].send(&job, at(0)).await.unwrap();
    let (to, letter) = letters.recv().await.unwrap();
    assert_eq!(to, ["RCPT TO:<duty@town.example>", "RCPT TO:<zhang@town.example>"]);
    assert!(letter.contains(&format!("Message-ID: <{}@town.example>", job.key)), "{letter}");
    assert!(
        letter.contains("Subject: [Wuzhen] Test message")
            && letter.contains("Nothing has happened"),
        "{letter}"
    );
    // Nobody to write to is said at once.
    let channels = build(&config(""));
    job.notice.people.remove(0);
    let Err(Failure::Refused(why)) = channels[0].send(&job, at(0)).await else {
        panic!("nobody to write to")
    };
    assert!(why.contains("notify.people") && why.contains("nobody-knows"), "{why}");
}

#[tokio::test]
async fn a_topic_of_another_broker_counts_when_the_broker_acknowledges() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let broker = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut packet = vec![0; 64 * 1024];
        let n = stream.read(&mut packet).await.unwrap();
        assert_eq!(packet[0], 0x10, "CONNECT");
        assert!(packet[..n].windows(4).any(|part| part == b"bus1"), "the login");
        stream.write_all(&[0x20, 2, 0, 0]).await.unwrap();
        let n = stream.read(&mut packet).await.unwrap();
        assert_eq!(packet[0], 0x32, "PUBLISH with QoS 1");
        let text = String::from_utf8_lossy(&packet[..n]).into_owned();
        stream.write_all(&[0x40, 2, 0, 1]).await.unwrap();
        // Until the goodbye and the end.
        while stream.read(&mut packet).await.is_ok_and(|n| n > 0) {}
        text
    });
    let settings = settings(&format!(
        "[channels.bus]\nkind = 'mqtt'\ntopic = 'town/alerts'\nhost = '{address}'\nuser = 'bus1'\nsecret = 'p'"
    ));
    let channels = build(&settings);
    let town = Town::new();
    let mut post = town.open(&settings, at(0));
    let job = trial("bus", &mut post, at(0));
    channels[0].send(&job, at(0)).await.unwrap();
    let text = broker.await.unwrap();
    assert!(text.contains("town/alerts") && text.contains(&job.key), "{text}");
    // And nobody there is a failure that may pass.
    assert!(matches!(channels[0].send(&job, at(0)).await, Err(Failure::Temporary(_))));
}
