"""What the names of other libraries do: the rule that a call or a mention of each breaks."""

from __future__ import annotations

import ast
from collections.abc import Callable


def _names(rule: str, text: str) -> dict[str, str]:
    """``module: name name`` lines as dotted names."""
    found: dict[str, str] = {}
    for line in text.strip().splitlines():
        module, _, names = line.strip().partition(":")
        found.update({f"{module}.{name}": rule for name in names.split()})
    return found


# Functions and classes that may not be called.
CALLS: dict[str, str] = {
    **_names(
        "wall-clock",
        """
        datetime.datetime: now utcnow today
        datetime.date: today
        time: time time_ns monotonic monotonic_ns perf_counter perf_counter_ns process_time process_time_ns thread_time
        time: thread_time_ns clock_gettime clock_gettime_ns asctime ctime gmtime localtime strftime
        timeit: default_timer timeit repeat
        email.utils: localtime formatdate make_msgid
        pendulum: now today tomorrow yesterday
        arrow: now utcnow
        arrow.Arrow: now utcnow
        django.utils.timezone: now localtime localdate
        pandas.Timestamp: now today utcnow
        freezegun.api: real_time
        whenever.Instant: now
        whenever.ZonedDateTime: now
        """,
    ),
    **_names(
        "time-zone",
        """
        time: mktime tzset
        tzlocal: get_localzone get_localzone_name
        dateutil.tz: tzlocal gettz
        """,
    ),
    **_names(
        "random",
        """
        random: random uniform triangular randint randrange getrandbits randbytes choice choices shuffle sample seed
        random: betavariate expovariate gammavariate gauss lognormvariate normalvariate vonmisesvariate paretovariate
        random: weibullvariate binomialvariate setstate getstate SystemRandom
        tempfile: _get_candidate_names
        secrets: choice randbelow randbits token_bytes token_hex token_urlsafe SystemRandom
        os: urandom getrandom
        ssl: RAND_bytes
        numpy.random: rand randn randint random random_sample choice shuffle permutation normal uniform seed bytes
        """,
    ),
    **_names(
        "uuid",
        """
        uuid: uuid1 uuid4 uuid6 uuid7 getnode
        ulid: ULID new
        nanoid: generate
        shortuuid: uuid
        cuid: cuid
        ksuid: ksuid
        bson: ObjectId
        """,
    ),
    **_names(
        "environment",
        """
        os: getenv getenvb putenv unsetenv getcwd getcwdb chdir getlogin
        os.path: expanduser expandvars abspath
        pathlib.Path: home cwd expanduser absolute
        getpass: getuser
        locale: getlocale setlocale getdefaultlocale localeconv currency format_string str strcoll strxfrm
        locale: getpreferredencoding getencoding delocalize localize atof atoi nl_langinfo
        sys: getdefaultencoding getfilesystemencoding
        shutil: which get_terminal_size
        dotenv: load_dotenv dotenv_values
        decouple: config
        """,
    ),
    **_names(
        "machine",
        """
        socket: gethostname getfqdn
        os: getpid getppid getpgid getuid geteuid getgid uname cpu_count process_cpu_count getloadavg times
        os: sched_getaffinity
        multiprocessing: cpu_count current_process
        threading: get_ident get_native_id current_thread active_count main_thread enumerate
        platform: node machine system release version platform uname processor python_version architecture
        platform: python_implementation python_version_tuple python_build mac_ver win32_ver freedesktop_os_release
        importlib.metadata: version metadata distribution distributions packages_distributions
        importlib_metadata: version metadata distribution
        pkg_resources: get_distribution
        resource: getrusage
        psutil: cpu_percent virtual_memory cpu_count disk_usage Process pids
        sys: getrefcount getrecursionlimit
        asyncio: current_task all_tasks
        """,
    ),
    **_names("hash", "builtins: hash"),
    **_names(
        "memory",
        """
        builtins: id
        gc: collect get_objects get_count get_referrers get_referents get_stats is_tracked
        weakref: ref proxy WeakSet WeakValueDictionary WeakKeyDictionary getweakrefcount getweakrefs finalize
        sys: getsizeof getallocatedblocks
        tracemalloc: get_traced_memory take_snapshot
        """,
    ),
    **_names(
        "introspection",
        """
        sys: _getframe
        inspect: stack currentframe getsource getsourcelines getsourcefile getfile getmodule getlineno getmembers trace
        traceback: format_exc format_stack format_tb extract_stack extract_tb format_exception print_exc print_stack
        """,
    ),
    **_names("global-state", "contextvars.ContextVar: set reset"),
    **_names(
        "file",
        """
        builtins: open
        io: open open_code FileIO
        codecs: open
        os: open read write listdir scandir walk fwalk stat lstat access mkdir makedirs remove unlink rmdir removedirs
        os: rename renames replace link symlink readlink chmod chown utime truncate mkfifo statvfs
        os.path: exists lexists isfile isdir islink ismount getsize getmtime getatime getctime realpath samefile
        pathlib.Path: read_text read_bytes write_text write_bytes open exists is_file is_dir is_symlink iterdir glob
        pathlib.Path: rglob walk stat lstat mkdir rmdir unlink touch rename replace chmod resolve symlink_to hardlink_to
        pathlib.Path: readlink owner group samefile is_mount
        glob: glob iglob
        shutil: copy copy2 copyfile copyfileobj copytree move rmtree disk_usage make_archive unpack_archive
        tempfile: TemporaryFile NamedTemporaryFile SpooledTemporaryFile TemporaryDirectory mkstemp mkdtemp mktemp
        tempfile: gettempdir
        fileinput: input FileInput
        linecache: getline getlines
        importlib.resources: files read_text read_binary open_text open_binary path contents
        pkgutil: get_data
        shelve: open
        dbm: open
        aiofiles: open
        pandas: read_csv read_excel read_json read_parquet read_table read_pickle
        numpy: load loadtxt genfromtxt save savetxt
        """,
    ),
    **_names(
        "database",
        """
        sqlite3: connect
        aiosqlite: connect
        psycopg: connect AsyncConnection
        psycopg2: connect
        asyncpg: connect create_pool
        pymysql: connect
        MySQLdb: connect
        mysql.connector: connect
        pyodbc: connect
        oracledb: connect
        duckdb: connect
        sqlalchemy: create_engine
        sqlalchemy.ext.asyncio: create_async_engine
        sqlalchemy.orm: Session
        pymongo: MongoClient AsyncMongoClient
        motor.motor_asyncio: AsyncIOMotorClient
        redis: Redis StrictRedis from_url
        redis.asyncio: Redis from_url
        pandas: read_sql read_sql_query
        """,
    ),
    **_names(
        "network",
        """
        requests: get post put delete patch head options request Session session
        httpx: get post put delete patch head options request stream Client AsyncClient
        aiohttp: ClientSession request
        urllib.request: urlopen urlretrieve build_opener
        urllib3: PoolManager ProxyManager HTTPConnectionPool HTTPSConnectionPool request connection_from_url
        http.client: HTTPConnection HTTPSConnection
        socket: socket create_connection create_server getaddrinfo gethostbyname gethostbyaddr socketpair
        smtplib: SMTP SMTP_SSL
        ftplib: FTP FTP_TLS
        imaplib: IMAP4 IMAP4_SSL
        poplib: POP3 POP3_SSL
        xmlrpc.client: ServerProxy
        websockets: connect
        websocket: WebSocket create_connection
        boto3: client resource Session
        aioboto3: Session
        paramiko: SSHClient
        pika: BlockingConnection
        confluent_kafka: Producer Consumer
        kafka: KafkaProducer KafkaConsumer
        nats: connect
        grpc: insecure_channel secure_channel
        grpc.aio: insecure_channel secure_channel
        openai: OpenAI AsyncOpenAI
        anthropic: Anthropic AsyncAnthropic
        stripe.Charge: create
        stripe.PaymentIntent: create
        """,
    ),
    **_names(
        "client",
        """
        dapr_workflow_sdk: WorkflowClient DaprWorkflowClient
        dapr_workflow_sdk.aio: WorkflowClient DaprWorkflowClient
        dapr.ext.workflow: DaprWorkflowClient
        dapr.ext.workflow.aio: DaprWorkflowClient
        dapr.clients: DaprClient
        dapr.aio.clients: DaprClient
        """,
    ),
    **_names(
        "process",
        """
        subprocess: run Popen call check_call check_output getoutput getstatusoutput
        os: system popen fork forkpty kill killpg abort _exit wait waitpid posix_spawn posix_spawnp startfile
        os: execl execle execlp execlpe execv execve execvp execvpe spawnl spawnle spawnlp spawnv spawnve spawnvp
        asyncio: create_subprocess_exec create_subprocess_shell
        multiprocessing: Process Pool Queue Pipe Manager
        concurrent.futures: ProcessPoolExecutor
        pty: spawn
        webbrowser: open
        signal: signal alarm pause raise_signal setitimer
        """,
    ),
    **_names(
        "console",
        """
        builtins: input breakpoint
        getpass: getpass
        """,
    ),
    **_names(
        "thread",
        """
        threading: Thread Timer Event Condition Barrier Semaphore BoundedSemaphore local
        _thread: start_new_thread
        concurrent.futures: ThreadPoolExecutor wait as_completed
        concurrent.futures.thread: ThreadPoolExecutor
        multiprocessing.pool: ThreadPool
        multiprocessing.dummy: Pool
        asyncio: to_thread run_coroutine_threadsafe
        anyio.to_thread: run_sync
        trio.to_thread: run_sync
        joblib: Parallel
        """,
    ),
    **_names(
        "sleep",
        """
        time: sleep
        asyncio: sleep
        trio: sleep sleep_until
        anyio: sleep
        gevent: sleep
        eventlet: sleep
        """,
    ),
    **_names(
        "foreign-await",
        """
        asyncio: gather wait wait_for create_task ensure_future shield as_completed timeout timeout_at run Runner
        asyncio: TaskGroup Future Queue PriorityQueue LifoQueue Event Lock Semaphore BoundedSemaphore Condition Barrier
        asyncio: get_event_loop get_running_loop new_event_loop open_connection start_server
        anyio: create_task_group run fail_after move_on_after
        trio: open_nursery run fail_after move_on_after
        """,
    ),
}

# Values that may not be mentioned.
VALUES: dict[str, str] = {
    **_names(
        "environment",
        """
        os: environ environb
        sys: argv orig_argv path flags
        """,
    ),
    **_names("time-zone", "time: tzname timezone altzone daylight"),
    **_names("machine", "sys: version hexversion modules"),
}

# Classes whose objects break a rule by each of their methods.
OBJECTS: dict[str, str] = {
    name: rule
    for name, rule in CALLS.items()
    if rule in {"network", "database", "client", "thread"} and (name.rpartition(".")[2][:1].isupper())
} | {
    "random.SystemRandom": "random",
    "random.Random": "random",
    "threading.Lock": "thread",
    "threading.RLock": "thread",
    "requests.session": "network",
    "sqlite3.connect": "database",
    "boto3.client": "network",
    "boto3.resource": "network",
    "psycopg.connect": "database",
    "psycopg2.connect": "database",
    "sqlalchemy.create_engine": "database",
    "redis.from_url": "database",
    "concurrent.futures.ProcessPoolExecutor": "process",
    "sqlite3.Connection": "database",
    "sqlite3.Cursor": "database",
    "psycopg.Connection": "database",
    "asyncpg.Connection": "database",
    "asyncpg.Pool": "database",
}

# What a module computes with these when it is imported differs from process to process.
AT_IMPORT = frozenset({"wall-clock", "random", "uuid", "environment", "machine", "hash", "memory"})

# Classes whose objects only do so when several runs share them.
SHARED_ONLY = frozenset({"random.Random", "threading.Lock", "threading.RLock"})

# Callables that call the functions they are given.
CALLERS = frozenset(
    {
        "builtins.map",
        "builtins.filter",
        "builtins.sorted",
        "builtins.min",
        "builtins.max",
        "functools.reduce",
        "functools.partial",
        "itertools.starmap",
        "itertools.groupby",
        "itertools.takewhile",
        "itertools.dropwhile",
        "itertools.filterfalse",
        "itertools.accumulate",
        "heapq.nsmallest",
        "heapq.nlargest",
    }
)


def _given(call: ast.Call, position: int, keyword: str) -> bool:
    """Whether a call passes an argument, other than None."""
    given = call.args[position] if len(call.args) > position else None
    if given is None:
        given = next((part.value for part in call.keywords if part.arg in (keyword, None)), None)
    if any(isinstance(part, ast.Starred) for part in call.args):
        return True
    return given is not None and not (isinstance(given, ast.Constant) and given.value is None)


def _never(_: ast.Call) -> bool:
    """Whether a call that is wrong with any arguments is fine."""
    return False


# Calls that are fine with certain arguments: each tells whether this one is.
_FINE: dict[str, Callable[[ast.Call], bool]] = {
    "time.gmtime": lambda call: _given(call, 0, "secs"),
    "time.strftime": lambda call: _given(call, 1, "t"),
    "time.asctime": lambda call: _given(call, 0, "t"),
    "email.utils.formatdate": lambda call: _given(call, 0, "timeval"),
    "email.utils.localtime": lambda call: _given(call, 0, "dt"),
    "dateutil.tz.gettz": lambda call: _given(call, 0, "name"),
    "bson.ObjectId": lambda call: _given(call, 0, "oid"),
    "ulid.ULID": lambda call: bool(call.args),
}
# Calls that are wrong without certain arguments.
_UNLESS: dict[str, tuple[str, Callable[[ast.Call], bool]]] = {
    "random.Random": ("random", lambda call: _given(call, 0, "x")),
    "numpy.random.default_rng": ("random", lambda call: _given(call, 0, "seed")),
    "numpy.random.RandomState": ("random", lambda call: _given(call, 0, "seed")),
    "faker.Faker": ("random", _never),
    "datetime.datetime.fromtimestamp": ("time-zone", lambda call: _given(call, 1, "tz")),
    "datetime.date.fromtimestamp": ("time-zone", _never),
    "datetime.datetime.astimezone": ("time-zone", lambda call: _given(call, 0, "tz")),
}


def rule_of_call(name: str, call: ast.Call) -> str | None:
    """The rule that a call of this dotted name breaks."""
    unless = _UNLESS.get(name)
    if unless is not None:
        return None if unless[1](call) else unless[0]
    rule = CALLS.get(name)
    if rule is not None:
        fine = _FINE.get(name)
        if name in ("time.localtime", "time.ctime") and _given(call, 0, "secs"):
            return "time-zone"
        return None if fine is not None and fine(call) else rule
    return None


def rule_of_method(name: str, *, shared: bool = True) -> str | None:
    """The rule that a method breaks because of its class, and of who has the object."""
    owner = name.rpartition(".")[0]
    return None if owner in SHARED_ONLY and not shared else OBJECTS.get(owner)
