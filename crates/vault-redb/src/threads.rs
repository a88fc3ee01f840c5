//! The threads of one store, on which everything that blocks runs.
//!
//! The first is started when the store is opened, and if the system starts none, opening fails with
//! an error. More are started while calls wait, and end when they have nothing to do. If the system
//! starts no more, calls wait for those that there are.
//!
//! # Panics
//!
//! Over a damaged file redb 4.5 panics, and where it was changing a tree, it panics again in a drop
//! while the first panic unwinds: then the process is aborted, and no `catch_unwind` of ours helps.
//! Only the panic hook runs before anything unwinds. Ours takes a thread that was writing out of
//! service right there: it answers every call that waits, and never returns. What the thread holds
//! of redb's is never used or dropped again. A thread that was reading unwinds as usual.

use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    fmt, io,
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError, mpsc},
    thread,
    time::Duration,
};

use futures::channel::oneshot;

/// The most threads of one store. redb reads on several at a time; more would only wait for the
/// same disk.
const MOST: usize = 8;

/// How long a thread, except the last one, waits for work before it ends.
const IDLE: Duration = Duration::from_secs(5);

/// What a call is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Read,
    /// redb has one writer at a time: a second one would only keep a thread from the readers.
    Write,
}

/// A handle on the threads. They end when the last one is dropped and everything queued is done.
#[derive(Clone, Debug)]
pub(crate) struct Threads(Arc<Handle>);

#[derive(Debug)]
struct Handle(Arc<Pool>);

#[derive(Debug, Default)]
struct Pool {
    state: Mutex<State>,
    changed: Condvar,
}

/// What is called once.
type Task = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    /// How those who wait for a running task learn that there will be no answer.
    running: BTreeMap<u64, Task>,
    started: u64,
    writing: bool,
    idle: usize,
    threads: usize,
    closed: bool,
    /// A thread panicked while it was writing, and holds redb's locks for good.
    dead: bool,
}

struct Job {
    work: Work,
    run: Task,
    /// Called instead of `run`, or while it runs, if it will not be answered.
    lost: Task,
}

thread_local! {
    /// What this thread of a store is doing, and for whom.
    static AT_WORK: Cell<Option<(Work, Arc<Pool>)>> = const { Cell::new(None) };
}

impl Threads {
    /// Starts the first thread.
    pub(crate) fn start() -> io::Result<Self> {
        install_hook();
        let pool = Arc::new(Pool::default());
        pool.lock().threads = 1;
        spawn(&pool)?;
        Ok(Self(Arc::new(Handle(pool))))
    }

    /// Runs a task on one of the threads. It runs to its end, or never begins, even if the answer
    /// is no longer awaited. `None` if there is no answer, because it or another task panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: Work,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, receiver) = oneshot::channel();
        let answer = Arc::new(Mutex::new(Some(answer)));
        let lost = Arc::clone(&answer);
        self.0.0.submit(Job {
            work,
            run: Box::new(move || {
                // The task, with everything it holds, is gone before its answer is there.
                let value = task();
                if let Some(answer) = take(&answer) {
                    let _ = answer.send(value);
                }
            }),
            lost: Box::new(move || drop(take(&lost))),
        });
        receiver.await.ok()
    }

    /// Does as [`run`](Self::run) with a task that writes, and blocks until it is done; says
    /// whether it was. On one of the threads themselves, the task runs at once.
    pub(crate) fn run_and_wait(&self, task: impl FnOnce() + Send + 'static) -> bool {
        if let Some((_, pool)) = AT_WORK.take() {
            AT_WORK.set(Some((Work::Write, pool)));
            return catch_unwind(AssertUnwindSafe(task)).is_ok();
        }
        let (done, wait) = mpsc::channel();
        let lost = done.clone();
        self.0.0.submit(Job {
            work: Work::Write,
            run: Box::new(move || {
                task();
                let _ = done.send(true);
            }),
            lost: Box::new(move || {
                let _ = lost.send(false);
            }),
        });
        wait.recv().unwrap_or(false)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

impl Pool {
    /// Nothing that panics runs under the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(self: &Arc<Self>, job: Job) {
        let mut state = self.lock();
        if state.dead {
            drop(state);
            // What the task holds may be redb's, which must not be dropped any more.
            std::mem::forget(job.run);
            return (job.lost)();
        }
        state.waiting.push_back(job);
        let grow = state.waiting.len() > state.idle && state.threads < MOST;
        state.threads += usize::from(grow);
        drop(state);
        self.changed.notify_one();
        if grow && spawn(self).is_err() {
            // One of those that there are will do it.
            self.lock().threads -= 1;
        }
    }

    /// The life of one thread.
    fn serve(self: &Arc<Self>) {
        while let Some((number, work, run)) = self.next() {
            AT_WORK.set(Some((work, Arc::clone(self))));
            // A panic while reading is caught where the store can tell what it means; here it only
            // must not end the thread.
            let answered = catch_unwind(AssertUnwindSafe(run)).is_ok();
            AT_WORK.set(None);
            let mut state = self.lock();
            let lost = state.running.remove(&number);
            state.writing &= work == Work::Read;
            drop(state);
            if work == Work::Write {
                self.changed.notify_one();
            }
            if let (false, Some(lost)) = (answered, lost) {
                lost();
            }
        }
    }

    fn next(&self) -> Option<(u64, Work, Task)> {
        let mut state = self.lock();
        loop {
            let writing = state.writing;
            let can_run = |job: &Job| job.work == Work::Read || !writing;
            if let Some(job) = state.waiting.iter().position(can_run) {
                let Job { work, run, lost } = state.waiting.remove(job)?;
                state.writing |= work == Work::Write;
                state.started += 1;
                let number = state.started;
                state.running.insert(number, lost);
                return Some((number, work, run));
            }
            if state.closed && state.waiting.is_empty() {
                return None;
            }
            state.idle += 1;
            let woken = self.changed.wait_timeout(state, IDLE);
            let (woken, time) = woken.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if time.timed_out() && state.threads > 1 && state.waiting.is_empty() {
                state.threads -= 1;
                return None;
            }
        }
    }

    /// Answers everyone who waits, now and later, that there is no answer.
    fn die(&self) {
        let mut state = self.lock();
        state.dead = true;
        let running = std::mem::take(&mut state.running);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for lost in running.into_values() {
            lost();
        }
        for job in waiting {
            std::mem::forget(job.run);
            (job.lost)();
        }
    }
}

fn take<T>(answer: &Mutex<Option<T>>) -> Option<T> {
    answer.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn spawn(pool: &Arc<Pool>) -> io::Result<()> {
    let pool = Arc::clone(pool);
    thread::Builder::new().name("vaultstore-redb".to_owned()).spawn(move || pool.serve()).map(drop)
}

/// Lets the panic hook see to the panics of these threads. Those of all others go to the hook that
/// was there before.
fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| match AT_WORK.try_with(Cell::take).ok().flatten() {
            None => before(panic),
            Some((Work::Read, pool)) => AT_WORK.set(Some((Work::Read, pool))),
            Some((Work::Write, pool)) => {
                pool.die();
                loop {
                    thread::park();
                }
            }
        }));
    });
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("waiting", &self.waiting.len())
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::mpsc;

    use futures::FutureExt as _;
    use futures::executor::block_on;
    use futures::future::join_all;

    use super::*;

    #[test]
    fn every_task_is_answered_and_no_more_threads_than_allowed_run() {
        let threads = Threads::start().unwrap();
        let tasks = (0..200).map(|number| {
            let work = if number % 3 == 0 { Work::Write } else { Work::Read };
            threads.run(work, move || number * number)
        });
        let answers = block_on(join_all(tasks));
        assert_eq!(answers, (0..200).map(|number| Some(number * number)).collect::<Vec<_>>());
        assert!(threads.0.0.lock().threads <= MOST);
    }

    #[test]
    fn a_read_that_panics_has_no_answer_and_the_next_one_has() {
        let threads = Threads::start().unwrap();
        assert_eq!(block_on(threads.run(Work::Read, || panic!("a test's panic"))), None::<()>);
        assert_eq!(block_on(threads.run(Work::Read, || 1)), Some(1));
    }

    /// Panics a second time while the first panic unwinds, which would abort the process.
    struct PanicsWhenDropped;

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("a test's second panic");
        }
    }

    /// Set in the process in which a write panics.
    const CHILD: &str = "VAULTSTORE_TEST_PANICS_TWICE";

    /// In a process of its own: the thread that panics stays inside the panic hook for good, and
    /// the test runner takes the hook when it ends.
    #[test]
    fn a_write_that_panics_twice_leaves_everyone_without_an_answer_and_the_process_alive() {
        if std::env::var_os(CHILD).is_some() {
            panic_twice();
            std::process::exit(0);
        }
        let name = "threads::tests::a_write_that_panics_twice_leaves_everyone_without_an_answer_and_the_process_alive";
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.args([name, "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    fn panic_twice() {
        let threads = Threads::start().unwrap();
        let (started, wait) = mpsc::channel();
        // A reader that waits for a lock that the writer never gives back.
        let (lock, stuck) = mpsc::channel::<()>();
        let reader = threads.run(Work::Read, move || {
            started.send(()).unwrap();
            stuck.recv().unwrap();
        });
        let writer = threads.run(Work::Write, move || {
            wait.recv().unwrap();
            let _twice = PanicsWhenDropped;
            panic!("a test's first panic");
        });
        let waiting = threads.run(Work::Write, || 1);
        let answers = block_on(async { futures::join!(reader, writer, waiting) });
        assert_eq!(answers, (None, None::<()>, None));
        assert_eq!(block_on(threads.run(Work::Read, || 1)), None);
        assert!(!threads.run_and_wait(|| ()));
        drop(lock);
    }

    #[test]
    fn a_read_does_not_wait_for_a_write_and_a_write_does() {
        let threads = Threads::start().unwrap();
        let (go, wait) = mpsc::channel::<()>();
        let order = Arc::new(Mutex::new(Vec::new()));
        let note = |what| {
            let order = Arc::clone(&order);
            move || order.lock().unwrap().push(what)
        };
        let first = note("first write");
        let writes = async {
            let first = threads.run(Work::Write, move || {
                wait.recv().unwrap();
                first();
            });
            futures::join!(first, threads.run(Work::Write, note("second write")));
        };
        let read = async {
            threads.run(Work::Read, note("read")).await;
            go.send(()).unwrap();
        };
        block_on(async { futures::join!(writes, read) });
        assert_eq!(*order.lock().unwrap(), ["read", "first write", "second write"]);
    }

    #[test]
    fn what_was_given_before_the_end_is_done() {
        let threads = Threads::start().unwrap();
        let (done, results) = mpsc::channel();
        for number in 0..50 {
            let done = done.clone();
            // Its future is dropped at once.
            let _ = threads.run(Work::Write, move || done.send(number).unwrap()).now_or_never();
        }
        drop((threads, done));
        assert_eq!(results.iter().collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
    }
}
