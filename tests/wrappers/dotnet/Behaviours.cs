// Runs one row of ../behaviours.md.

using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Http;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Threading;
using System.Threading.Tasks;
using System.Xml.Serialization;
using Clopos.Auth;

internal static class Behaviours
{
    private static readonly Dictionary<string, Action> All = new Dictionary<string, Action>
    {
        ["signs_in"] = SignsIn,
        ["non_ascii_brand"] = SignsIn,
        ["shows_no_secret"] = ShowsNoSecret,
        ["keeps_no_copy_of_the_secret"] = KeepsNoCopyOfTheSecret,
        ["all_settings"] = AllSettings,
        ["log_lines"] = LogLines,
        ["warns_of_too_much_copied"] = WarnsOfTooMuchCopied,
        ["invalid_argument"] = InvalidArgument,
        ["nul_inside"] = NulInside,
        ["would_wait"] = WouldWait,
        ["deadline"] = Deadline,
        ["waits_for_the_next_attempt"] = WaitsForTheNextAttempt,
        ["announced_late"] = AnnouncedLate,
        ["cancelled"] = Cancelled,
        ["cancelled_by_the_language"] = CancelledByTheLanguage,
        ["waits_without_a_thread"] = WaitsWithoutAThread,
        ["closed_while_in_use"] = ClosedWhileInUse,
        ["used_after_close"] = UsedAfterClose,
        ["closed_by_its_log_function"] = ClosedByItsLogFunction,
        ["a_second_close_waits"] = ASecondCloseWaits,
        ["ends_without_close"] = EndsWithoutClose,
        ["announces_a_token"] = AnnouncesAToken,
        ["announces_a_failure"] = AnnouncesAFailure,
        ["change_function_that_fails"] = ChangeFunctionThatFails,
        ["change_function_that_closes"] = ChangeFunctionThatCloses,
        ["change_function_that_is_slow"] = ChangeFunctionThatIsSlow,
        ["state"] = State,
        ["nothing_printed"] = NothingPrinted,
        ["fake"] = Fake,
        ["expired_and_refreshed"] = ExpiredAndRefreshed,
        ["recovers_from_a_401"] = RecoversFromA401,
        ["helper_gets_another_token"] = HelperGetsAnotherToken,
        ["helper_hands_a_refusal_back"] = HelperHandsARefusalBack,
        ["helper_keeps_a_good_token"] = HelperKeepsAGoodToken,
        ["helper_keeps_the_token_from_others"] = HelperKeepsTheTokenFromOthers,
        ["helper_sends_the_venue"] = HelperSendsTheVenue,
        ["sixty_four_threads"] = SixtyFourThreads,
        ["no_leak"] = NoLeak,
        ["loaded_from_memory"] = LoadedFromMemory,
    };

    // The number of log lines, and the token that must not be in one.
    private static readonly object Seen = new object();
    private static int linesSeen;
    private static string? tokenNotToLog;

    private static int Main(string[] arguments)
    {
        try
        {
            if (All.TryGetValue(arguments.Single(), out Action behaviour))
            {
                behaviour();
            }
            else
            {
                Check(Env("EXPECT_STATUS") != null);
                FailsAsExpected(client => client.GetToken());
            }
        }
        catch (Exception failure)
        {
            Console.WriteLine(failure);
            return 1;
        }
        Console.WriteLine("ok");
        return 0;
    }

    private static void Check(bool condition, object? found = null, [CallerLineNumber] int line = 0)
    {
        if (!condition)
        {
            Fail($"Behaviours.cs:{line}: {found}");
        }
    }

    // Not an exception, which would not leave a log function.
    private static void Fail(string what)
    {
        Console.WriteLine(what);
        Console.Out.Flush();
        Environment.Exit(1);
    }

    private static string? Env(string name)
    {
        string? value = Environment.GetEnvironmentVariable(name);
        return string.IsNullOrEmpty(value) ? null : value;
    }

    private static int Number(string name) => int.Parse(Env(name) ?? "0", CultureInfo.InvariantCulture);

    private static void Log(CloposLogLevel level, string line)
    {
        lock (Seen)
        {
            Console.Error.WriteLine($"log {level}: {line}");
            Check(level >= CloposLogLevel.Error && level <= CloposLogLevel.Debug, level);
            Check(line.Length != 0 && !line.Contains(Env("CLOPOS_CLIENT_SECRET")!));
            Check(tokenNotToLog == null || !line.Contains(tokenNotToLog));
            linesSeen++;
        }
        throw new InvalidOperationException("is ignored");
    }

    private static int LinesSeen()
    {
        lock (Seen)
        {
            return linesSeen;
        }
    }

    private static CloposAuthSettings SettingsFromEnvironment()
    {
        var settings = new CloposAuthSettings(
            Env("CLOPOS_CLIENT_ID")!, Env("CLOPOS_CLIENT_SECRET")!, Env("CLOPOS_BRAND")!,
            Env("CLOPOS_INTEGRATOR_ID")!)
        {
            BaseUrl = Env("CLOPOS_BASE_URL")!,
            AuthPath = Env("CLOPOS_AUTH_PATH"), // the row auth_path
            Log = Log,
            LogLevel = CloposLogLevel.Debug,
        };
        settings.Proxy = Env("CLOPOS_PROXY") ?? settings.Proxy;
        if (Env("CLOPOS_TIMEOUT_MS") != null)
        {
            settings.Timeout = TimeSpan.FromMilliseconds(Number("CLOPOS_TIMEOUT_MS"));
        }
        if (Env("CLOPOS_MAX_ATTEMPTS") != null)
        {
            settings.MaxAttempts = Number("CLOPOS_MAX_ATTEMPTS");
        }
        if (Env("CLOPOS_CA_FILE") is string file)
        {
            settings.CaPem = File.ReadAllBytes(file);
            settings.Roots = CloposRoots.None;
        }
        return settings;
    }

    private static CloposAuthClient NewClient() => new CloposAuthClient(SettingsFromEnvironment());

    private static T Wait<T>(Task<T> task) => task.GetAwaiter().GetResult();

    // Waits for another thread, 20 s at most.
    private static void Until(Func<bool> condition, [CallerLineNumber] int line = 0) =>
        Check(SpinWait.SpinUntil(condition, 20_000), "not within 20 s", line);

    // The call throws such an exception. Returns it.
    private static T Throws<T>(Action call, [CallerLineNumber] int line = 0)
        where T : Exception
    {
        try
        {
            call();
        }
        catch (T failure)
        {
            Console.Error.WriteLine("error: " + failure.Message);
            return failure;
        }
        throw new InvalidOperationException($"line {line}: no {typeof(T)}");
    }

    // The call throws an exception with this status that names this. Returns it.
    private static CloposAuthException Expect(
        CloposAuthStatus status, Action call, string named = "", [CallerLineNumber] int line = 0)
    {
        var failure = Throws<CloposAuthException>(call, line);
        Check(failure.Status == status, failure.Status, line);
        Check(failure.Message.StartsWith(failure.StatusName + ": ") && failure.Message.Contains(named),
            failure.Message, line);
        return failure;
    }

    private static void SignsIn()
    {
        using CloposAuthClient client = NewClient();
        CloposToken first = client.GetToken();
        DateTimeOffset inAnHour = DateTimeOffset.UtcNow.AddHours(1);
        Check(first.Value.Reveal().Count(c => c == '.') == 2 && first.TokenType == "Bearer");
        Check(first.ExpiresIn.TotalSeconds >= 3500 && first.ExpiresIn.TotalSeconds <= 3600, first.ExpiresIn);
        Check((first.ExpiresAt - inAnHour).Duration() < TimeSpan.FromMinutes(1), first.ExpiresAt);
        Check(!first.ToString().Contains(first.Value.Reveal()));
        Task<CloposToken> second = client.GetTokenAsync();
        Check(second.IsCompleted && second.Result.Value.Reveal() == first.Value.Reveal());
        // A call returns the same task, except once a second.
        Check(Enumerable.Range(0, 3).Any(_ => client.GetTokenAsync() == client.GetTokenAsync()));
        CloposToken third = Wait(client.AuthenticateAsync());
        Check(third.Value.Reveal() != first.Value.Reveal() && client.GetToken().Value.Reveal() == third.Value.Reveal());
        Check(CloposAuthClient.NativeVersion.Count(c => c == '.') == 2);
    }

    private static void ShowsNoSecret()
    {
        CloposAuthSettings settings = SettingsFromEnvironment();
        using var client = new CloposAuthClient(settings);
        CloposToken token = client.GetToken();
        settings.Log = null; // it cannot be serialised
        settings.Proxy = "http://user:proxy-password@127.0.0.1:1";
        foreach (object shown in new object[] { settings, token, token.Value, settings.Proxy, client })
        {
            Console.WriteLine(shown);
            Console.WriteLine($"{shown:G} {Tuple.Create(shown)} {new { shown }}");
            Console.WriteLine(MembersOf(shown, 3));
            foreach (Func<object, string> serialise in Serialisers())
            {
                try
                {
                    Console.WriteLine(serialise(shown));
                }
                catch (Exception refused)
                {
                    Console.WriteLine(refused.Message);
                }
            }
        }
        Check($"{token.Value}" == "***" && MembersOf(token, 1).Contains("Bearer"));

        // A request that has been sent does not contain it either.
        using var http = new HttpClient(new CloposTokenHandler(client, new FakeService()));
        var request = new HttpRequestMessage(HttpMethod.Get, new Uri(client.BaseUrl, "/open-api/v2/venues"));
        Console.WriteLine(Wait(http.SendAsync(request)));
        Console.WriteLine(request);
    }

    // What a structured logger writes of an object: its public members, recursively.
    private static string MembersOf(object shown, int depth)
    {
        IEnumerable<string> properties = shown.GetType().GetProperties()
            .Where(property => depth > 0 && property.GetIndexParameters().Length == 0)
            .Select(property => property.Name + "=" + Value(() => property.GetValue(shown), depth));
        IEnumerable<string> fields = shown.GetType().GetFields()
            .Where(field => depth > 0)
            .Select(field => field.Name + "=" + Value(() => field.GetValue(shown), depth));
        return $"{shown} {{{string.Join(", ", properties.Concat(fields))}}}";
    }

    private static string Value(Func<object?> get, int depth)
    {
        try
        {
            return get() is object value ? MembersOf(value, depth - 1) : "null";
        }
        catch (TargetInvocationException refused)
        {
            return refused.Message;
        }
    }

    // The serialisers of this runtime.
    private static IEnumerable<Func<object, string>> Serialisers()
    {
        MethodInfo? json = Type.GetType("System.Text.Json.JsonSerializer, System.Text.Json")?.GetMethods()
            .Single(method => method.Name == "Serialize" && method.ReturnType == typeof(string) &&
                method.GetParameters().Select(parameter => parameter.ParameterType.Name)
                    .SequenceEqual(new[] { "Object", "Type", "JsonSerializerOptions" }));
        if (json != null)
        {
            yield return shown => (string)json.Invoke(null, new object?[] { shown, shown.GetType(), null });
        }
        yield return shown =>
        {
            var written = new StringWriter();
            new XmlSerializer(shown.GetType()).Serialize(written, shown);
            return written.ToString();
        };
    }

    // Lets the driver search this process's memory.
    private static void Pause()
    {
        Console.WriteLine("pause");
        Console.ReadLine();
    }

    private static void KeepsNoCopyOfTheSecret()
    {
        CloposAuthSettings settings = SettingsFromEnvironment();
        settings.Log = null;
        Pause();
        new CloposAuthClient(settings).Dispose();
        Pause();
        GC.KeepAlive(settings);
    }

    private static void AllSettings()
    {
        CloposAuthSettings settings = SettingsFromEnvironment();
        settings.AuthPath = "/open-api/v2/auth";
        settings.AttemptTimeout = TimeSpan.FromSeconds(5);
        settings.RequestsPerMinute = 20;
        settings.UserAgent = "Till/4.2";
        settings.Proxy = "none";
        settings.AllowPlainHttp = false;
        using var client = new CloposAuthClient(settings);
        client.Changed += (_, change) => { };
        Check(client.GetToken().Value.Reveal().Length != 0);
    }

    private static void LogLines()
    {
        CloposAuthClient client = NewClient();
        CloposToken refused = client.GetToken();
        lock (Seen)
        {
            tokenNotToLog = refused.Value.Reveal();
        }
        client.Invalidate(refused);
        client.Dispose();
        int seen = LinesSeen();
        Check(seen >= 2, seen);
        Throws<ObjectDisposedException>(() => client.Invalidate(refused));
        Thread.Sleep(200);
        Check(LinesSeen() == seen);
    }

    private static void WarnsOfTooMuchCopied()
    {
        NewClient().Dispose();
        Check(LinesSeen() == 1, LinesSeen());
    }

    private static void FailsAsExpected(Action<CloposAuthClient> call)
    {
        using CloposAuthClient client = NewClient();
        var failure = Throws<CloposAuthException>(() => call(client));
        Console.Error.WriteLine($"{failure.HttpStatus} {failure.RetryAfter} {failure.ServerCode}");
        Check(failure.StatusName == Env("EXPECT_STATUS"), failure.StatusName);
        Check(failure.Status.ToString().ToUpperInvariant() == Env("EXPECT_STATUS")!.Replace("_", ""));
        Check(failure.HttpStatus == Number("EXPECT_HTTP_STATUS"), failure.HttpStatus);
        Check(failure.IsRetryable == (Env("EXPECT_RETRYABLE") == "1"));
        string[] expected = Env("EXPECT_RETRY_AFTER")!.Split('-');
        if (expected[0] == "unknown")
        {
            Check(failure.RetryAfter == null, failure.RetryAfter);
        }
        else
        {
            double[] range = expected.Select(text => double.Parse(text, CultureInfo.InvariantCulture)).ToArray();
            Check(failure.RetryAfter?.TotalSeconds >= range[0], failure.RetryAfter);
            Check(failure.RetryAfter?.TotalSeconds <= range[1], failure.RetryAfter);
        }
        string reason = Env("EXPECT_REASON")!.Replace("_", "");
        Check(failure.Reason.ToString().ToUpperInvariant() == reason, failure.Reason);
        Check(failure.ServerCode == Env("EXPECT_SERVER_CODE"), failure.ServerCode);
        Check(failure.Message.Length > failure.StatusName.Length + 2);
        Check(!failure.Message.Contains(Env("CLOPOS_CLIENT_SECRET")!));
    }

    private static void Refuses(string named, string brand = "brand", string baseUrl = "https://localhost")
    {
        var settings = new CloposAuthSettings("id", "secret", brand, "integrator") { BaseUrl = baseUrl };
        Expect(CloposAuthStatus.InvalidArgument, () => new CloposAuthClient(settings), named);
    }

    private static void InvalidArgument()
    {
        RefusesNull();
        Refuses("brand", brand: "");
        Refuses("brand", brand: "two\nlines");
        Refuses("brand", brand: null!);
        Refuses("base_url", baseUrl: "not a url");
        foreach (Action<CloposAuthSettings> change in new Action<CloposAuthSettings>[]
        {
            settings => settings.Timeout = TimeSpan.FromSeconds(-1),
            settings => settings.AttemptTimeout = TimeSpan.MaxValue,
            settings => settings.MaxAttempts = -1,
            settings => settings.RequestsPerMinute = 0,
            settings => settings.Roots = (CloposRoots)7,
            settings => settings.AuthPath = "",
            settings => settings.CaPem = new byte[0],
            settings => settings.LogLevel = 0,
        })
        {
            CloposAuthSettings settings = SettingsFromEnvironment();
            change(settings);
            Expect(CloposAuthStatus.InvalidArgument, () => new CloposAuthClient(settings));
        }
    }

    private static void RefusesNull()
    {
        using CloposAuthClient client = NewClient();
        foreach (Action use in new Action[]
        {
            () => new CloposAuthClient(null!),
            () => client.Invalidate(null!),
            () => new CloposToken(null!, TimeSpan.Zero),
            () => new CloposTokenHandler(null!),
            () => new CloposTokenHandler(client, null!),
        })
        {
            Throws<ArgumentNullException>(use);
        }
    }

    private static void NulInside()
    {
        Refuses("brand", brand: "sand\0box");
        Refuses("base_url", baseUrl: "https://localhost\0.example");
    }

    private static void WouldWait()
    {
        using CloposAuthClient client = NewClient();
        var watch = Stopwatch.StartNew();
        Check(Expect(CloposAuthStatus.WouldWait, () => client.GetToken(TimeSpan.Zero)).IsRetryable);
        Check(watch.ElapsedMilliseconds < 1000);
        Check(client.GetToken().Value.Reveal() == client.GetToken(TimeSpan.Zero).Value.Reveal());
    }

    private static void Deadline()
    {
        using CloposAuthClient client = NewClient();
        TimeSpan timeout = TimeSpan.FromMilliseconds(300);
        // It has expired before the first check.
        Expect(CloposAuthStatus.Timeout, () => Wait(client.GetTokenAsync(TimeSpan.FromTicks(1))));
        var watch = Stopwatch.StartNew();
        // All wait for one request, each with its own timeout.
        Task<CloposToken> first = client.GetTokenAsync(timeout);
        Task<CloposToken> longer = client.GetTokenAsync(TimeSpan.FromSeconds(20));
        Task<CloposToken> early = client.GetTokenAsync(TimeSpan.FromMilliseconds(100));
        Expect(CloposAuthStatus.Timeout, () => client.GetToken(timeout));
        Check(watch.ElapsedMilliseconds >= 300 && watch.ElapsedMilliseconds < 2000, watch.Elapsed);
        Expect(CloposAuthStatus.Timeout, () => Wait(first));
        Check(Expect(CloposAuthStatus.Timeout, () => Wait(early)).IsRetryable);
        Check(watch.ElapsedMilliseconds < 2000, watch.Elapsed);
        Check(client.GetToken(TimeSpan.FromSeconds(20)).Value.Reveal() == Wait(longer).Value.Reveal());
        Check(client.GetToken(Timeout.InfiniteTimeSpan).Value.Reveal() == Wait(longer).Value.Reveal());
        // The remaining time after a deadline, which is not infinite.
        TimeSpan negative = TimeSpan.FromSeconds(-1);
        Throws<ArgumentOutOfRangeException>(() => client.GetToken(negative));
        Throws<ArgumentOutOfRangeException>(() => Wait(client.GetTokenAsync(negative)));
    }

    // GetTokenAsync and AuthenticateAsync of a new client, which wait for the same sign-in.
    private static Task<CloposToken>[] WaitTogether(
        out CloposAuthClient client, EventHandler<CloposAuthChangedEventArgs>? changed = null)
    {
        var bothWait = new ManualResetEventSlim();
        CloposAuthSettings settings = SettingsFromEnvironment();
        settings.Log = (_, line) => bothWait.Wait(); // a sign-in waits for its log function
        client = new CloposAuthClient(settings);
        client.Changed += changed;
        Task<CloposToken>[] calls = { client.GetTokenAsync(), client.AuthenticateAsync() };
        bothWait.Set();
        return calls;
    }

    private static void WaitsForTheNextAttempt()
    {
        var watch = Stopwatch.StartNew();
        Task<CloposToken>[] calls = WaitTogether(out CloposAuthClient limited);
        foreach (Task<CloposToken> call in calls)
        {
            TimeSpan? wait = Expect(CloposAuthStatus.RateLimited, () => Wait(call)).RetryAfter;
            Check(wait?.TotalSeconds > 119 && wait?.TotalSeconds <= 150, wait);
        }
        Check(limited.GetState().RequestInFlight && watch.Elapsed.TotalSeconds < 10, watch.Elapsed);
        limited.Dispose();

        calls = WaitTogether(out CloposAuthClient client);
        Check(calls.Select(call => Wait(call).Value.Reveal()).Distinct().Count() == 1);
        CloposAuthState state = client.GetState();
        Check(state.Requests == 2 && state.Failures == 1, $"{state.Requests} {state.Failures}");
        client.Dispose();
    }

    private static void AnnouncedLate()
    {
        using CloposAuthClient client = NewClient();
        FieldInfo field = typeof(CloposAuthClient).GetField("callbacks", BindingFlags.Instance | BindingFlags.NonPublic);
        object callbacks = field.GetValue(client);
        MethodInfo changed = callbacks.GetType().GetMethod("Changed", BindingFlags.Instance | BindingFlags.NonPublic);
        foreach (bool isDue in new[] { false, true })
        {
            CloposToken first = client.GetToken();
            Until(() => !isDue || client.GetState().RefreshIn == TimeSpan.Zero);
            Task<CloposToken> second = client.AuthenticateAsync();
            // As if the library's thread for the first one had not run until now.
            changed.Invoke(callbacks, new object[] { CloposAuthStatus.Ok });
            Check(Wait(second).Value.Reveal() != first.Value.Reveal(), isDue);
        }
    }

    private static void Cancelled()
    {
        using CloposAuthClient client = NewClient();
        var watch = Stopwatch.StartNew();
        Task<CloposToken> synchronous = Task.Run(() => client.GetToken());
        Task<CloposToken> asynchronous = client.GetTokenAsync();
        while (!synchronous.IsCompleted || !asynchronous.IsCompleted)
        {
            client.Cancel();
            Thread.Sleep(10);
            Check(watch.ElapsedMilliseconds < 2000);
        }
        Expect(CloposAuthStatus.Cancelled, () => Wait(synchronous));
        Expect(CloposAuthStatus.Cancelled, () => Wait(asynchronous));
        Check(client.GetToken().Value.Reveal().Length != 0);
    }

    private static void CancelledByTheLanguage()
    {
        using CloposAuthClient client = NewClient();
        using var source = new CancellationTokenSource(300);
        var watch = Stopwatch.StartNew();
        Task<CloposToken> other = client.GetTokenAsync();
        Throws<OperationCanceledException>(() => Wait(client.GetTokenAsync(source.Token)));
        Check(watch.ElapsedMilliseconds < 2000, watch.Elapsed);
        Throws<OperationCanceledException>(() => Wait(client.AuthenticateAsync(source.Token)));
        Check(Wait(other).Value.Reveal() == client.GetToken().Value.Reveal());
    }

    private static int Threads() => int.Parse(
        File.ReadLines("/proc/self/status").Single(line => line.StartsWith("Threads:")).Split('\t')[1],
        CultureInfo.InvariantCulture);

    private static void WaitsWithoutAThread()
    {
        using CloposAuthClient client = NewClient();
        int before = Threads();
        // Twice as many as the list requires; the last hundred call AuthenticateAsync.
        List<Task<CloposToken>> calls = Enumerable.Range(0, 10_000)
            .Select(i => i < 9_900 ? client.GetTokenAsync() : client.AuthenticateAsync())
            .ToList();
        int most = 0;
        int samples = 0;
        while (!calls[0].IsCompleted)
        {
            most = Math.Max(most, Threads());
            samples++;
            Thread.Sleep(10);
        }
        Console.Error.WriteLine($"{before} threads before, at most {most} in {samples} samples");
        Check(samples > 10 && most <= before + 8, $"{before} threads, then {most}");
        Check(Task.WaitAll(calls.ToArray(), 20_000));
        Check(calls.Select(call => call.Result.Value.Reveal()).Distinct().Count() == 1);
    }

    private static void ClosedWhileInUse()
    {
        CloposAuthClient client = NewClient();
        int started = 0;
        List<Task<CloposToken>> calls = Enumerable.Range(0, 8).Select(i => Task.Factory.StartNew(
            () =>
            {
                Interlocked.Increment(ref started);
                return i % 2 == 0 ? client.GetToken() : Wait(client.GetTokenAsync());
            },
            TaskCreationOptions.LongRunning)).ToList();
        while (Volatile.Read(ref started) < 8 || LinesSeen() == 0)
        {
            Thread.Sleep(1);
        }
        var watch = Stopwatch.StartNew();
        client.Dispose();
        int inTime = 0;
        foreach (Task<CloposToken> call in calls)
        {
            try
            {
                Wait(call);
                Check(false);
            }
            catch (CloposAuthException failure)
            {
                Check(failure.Status == CloposAuthStatus.Cancelled, failure);
                inTime++;
            }
            catch (ObjectDisposedException)
            {
                // The call came after Dispose.
            }
        }
        Check(inTime >= 1 && watch.ElapsedMilliseconds < 2000, watch.Elapsed);
    }

    private static void UsedAfterClose()
    {
        CloposAuthClient client = NewClient();
        CloposToken kept = client.GetToken();

        // If it is disposed before the helper receives a refusal, the caller gets the refusal.
        var service = new FakeService { Refused = kept.Value.Reveal(), Meanwhile = client.Dispose };
        using var http = new HttpClient(new CloposTokenHandler(client, service));
        Check(Wait(http.GetAsync(client.BaseUrl)).StatusCode == HttpStatusCode.Unauthorized);
        foreach (Action use in new Action[]
        {
            () => client.GetToken(),
            () => Wait(client.GetTokenAsync()),
            () => client.Authenticate(),
            () => Wait(client.AuthenticateAsync()),
            () => client.Invalidate(kept),
            () => client.Cancel(),
            () => client.GetState(),
        })
        {
            Throws<ObjectDisposedException>(use);
        }
        client.Dispose();
        Check(kept.Value.Reveal().Length != 0);
    }

    private static void ClosedByItsLogFunction()
    {
        CloposAuthClient? client = null;
        int lines = 0;
        CloposAuthSettings settings = SettingsFromEnvironment();
        settings.Log = (_, line) =>
        {
            lines++;
            client!.Dispose();
        };
        client = new CloposAuthClient(settings);
        var watch = Stopwatch.StartNew();
        Expect(CloposAuthStatus.Cancelled, () => client.GetToken());
        Check(watch.ElapsedMilliseconds < 2000);
        GC.Collect();
        Thread.Sleep(200);
        Check(lines == 1, lines);
    }

    private static void ASecondCloseWaits()
    {
        using var entered = new ManualResetEventSlim();
        using var closing = new CountdownEvent(2);
        bool finished = false;
        CloposAuthSettings settings = SettingsFromEnvironment();
        settings.Log = (_, line) =>
        {
            if (!entered.IsSet)
            {
                entered.Set();
                closing.Wait();
                Thread.Sleep(500);
                Volatile.Write(ref finished, true);
            }
        };
        var client = new CloposAuthClient(settings);
        Expect(CloposAuthStatus.WouldWait, () => client.GetToken(TimeSpan.Zero));
        entered.Wait();
        List<Task<bool>> closes = new[] { 0, 100 }.Select(delay => Task.Factory.StartNew(
            () =>
            {
                Thread.Sleep(delay);
                closing.Signal();
                client.Dispose();
                return Volatile.Read(ref finished);
            },
            TaskCreationOptions.LongRunning)).ToList();
        Check(closes.All(Wait));
    }

    private static void EndsWithoutClose() =>
        Expect(CloposAuthStatus.WouldWait, () => NewClient().GetToken(TimeSpan.Zero));

    private static void AnnouncesAToken()
    {
        var announced = new ConcurrentQueue<string>();
        CloposAuthClient client = NewClient();
        client.Changed += (sender, change) =>
        {
            Check(sender == client && change.Status == CloposAuthStatus.Ok);
            announced.Enqueue(client.GetToken(TimeSpan.Zero).Value.Reveal());
        };
        CloposToken first = client.GetToken();
        Until(() => announced.Count == 1);
        CloposToken second = client.Authenticate();
        Until(() => announced.Count == 2);
        Check(announced.SequenceEqual(new[] { first.Value.Reveal(), second.Value.Reveal() }));
        client.Dispose();
        Thread.Sleep(200);
        Check(announced.Count == 2);
    }

    private static void AnnouncesAFailure()
    {
        var announced = new ConcurrentQueue<CloposAuthStatus>();
        // The tasks fail like a blocking call: with the error of the sign-in, immediately.
        var watch = Stopwatch.StartNew();
        Task<CloposToken>[] calls = WaitTogether(
            out CloposAuthClient client, (_, change) => announced.Enqueue(change.Status));
        foreach (Task<CloposToken> call in calls)
        {
            CloposAuthException failure = Expect(CloposAuthStatus.Server, () => Wait(call));
            Check(failure.HttpStatus == 503 && failure.IsRetryable && failure.ServerCode == "unavailable");
            Check(failure.RetryAfter > TimeSpan.Zero, failure.RetryAfter);
        }
        Check(watch.ElapsedMilliseconds < 2000, watch.Elapsed);
        Until(() => announced.Count == 1);
        CloposAuthState state = client.GetState();
        Check(state.LastStatus == CloposAuthStatus.Server && state.LastHttpStatus == 503, state.LastStatus);
        Check(state.LastMessage!.Length != 0 && !state.HasToken && state.ExpiresIn == null, state.LastMessage);
        Check(state.Requests == 1 && state.Failures == 1 && state.NextRequestIn > TimeSpan.Zero, state.NextRequestIn);
        client.Dispose();
        Check(announced.Single() == CloposAuthStatus.Server);
    }

    private static void ChangeFunctionThatFails()
    {
        int announced = 0;
        using CloposAuthClient client = NewClient();
        client.Changed += (_, change) => throw new InvalidOperationException("is ignored");
        client.Changed += (_, change) => Interlocked.Increment(ref announced);
        CloposToken first = Wait(client.GetTokenAsync());
        Check(Wait(client.AuthenticateAsync()).Value.Reveal() != first.Value.Reveal());
        Until(() => Volatile.Read(ref announced) == 2); // by the second handler
    }

    private static void ChangeFunctionThatCloses()
    {
        int announced = 0;
        CloposAuthClient client = NewClient();
        client.Changed += (_, change) =>
        {
            client.Dispose();
            Interlocked.Increment(ref announced);
        };
        var watch = Stopwatch.StartNew();
        foreach (Task<CloposToken> call in new[] { client.GetTokenAsync(), Task.Run(() => client.GetToken()) })
        {
            try
            {
                Check(Wait(call).Value.Reveal().Length != 0);
            }
            catch (CloposAuthException failure)
            {
                Check(failure.Status == CloposAuthStatus.Cancelled, failure);
            }
            catch (ObjectDisposedException)
            {
                // The second call came after Dispose.
            }
        }
        Check(watch.ElapsedMilliseconds < 2000, watch.Elapsed);
        Until(() => Volatile.Read(ref announced) == 1);
        Throws<ObjectDisposedException>(() => client.Authenticate());
        Thread.Sleep(200);
        Check(Volatile.Read(ref announced) == 1);
    }

    private static void ChangeFunctionThatIsSlow()
    {
        bool finished = false;
        CloposAuthClient client = NewClient();
        client.Changed += (_, change) =>
        {
            Thread.Sleep(4_000);
            Volatile.Write(ref finished, true);
        };
        var watch = Stopwatch.StartNew();
        CloposToken announced = Wait(client.GetTokenAsync());
        Check(Wait(client.GetTokenAsync()).Value.Reveal() == announced.Value.Reveal());
        Check(client.GetToken().Value.Reveal() == announced.Value.Reveal());
        Check(watch.ElapsedMilliseconds < 2000 && !Volatile.Read(ref finished), watch.Elapsed);
        client.Dispose();
        Check(Volatile.Read(ref finished));
    }

    private static void State()
    {
        using CloposAuthClient client = NewClient();
        CloposAuthState state = client.GetState();
        Check(!state.HasToken && !state.IsFresh && !state.RequestInFlight);
        Check(state.ExpiresIn == null && state.RefreshIn == null && state.NextRequestIn == TimeSpan.Zero);
        Check(state.LastResultAge == null && state.LastMessage == null);
        Check(state.Requests == 0 && state.Failures == 0);

        Expect(CloposAuthStatus.WouldWait, () => client.GetToken(TimeSpan.Zero));
        Check(client.GetState().RequestInFlight);

        client.GetToken();
        Until(() => !client.GetState().RequestInFlight);
        state = client.GetState();
        Check(state.HasToken && state.IsFresh);
        Check(state.ExpiresIn?.TotalSeconds > 3500 && state.ExpiresIn?.TotalSeconds <= 3600, state.ExpiresIn);
        Check(state.RefreshIn > TimeSpan.Zero && state.RefreshIn < state.ExpiresIn, state.RefreshIn);
        Check(state.LastStatus == CloposAuthStatus.Ok && state.LastHttpStatus == 200, state.LastStatus);
        Check(state.LastResultAge < TimeSpan.FromSeconds(10), state.LastResultAge);
        Check(state.Requests == 2 && state.Failures == 1, $"{state.Requests} {state.Failures}");
        Check(state.LastMessage == null, state.LastMessage);
    }

    private static void NothingPrinted()
    {
        CloposAuthSettings settings = SettingsFromEnvironment();
        settings.Log = null;
        var client = new CloposAuthClient(settings);
        // Throws() would print.
        T Catch<T>(Action call)
            where T : Exception
        {
            try
            {
                call();
            }
            catch (T failure)
            {
                return failure;
            }
            throw new InvalidOperationException($"no {typeof(T)}");
        }
        Check(Catch<CloposAuthException>(() => client.GetToken()).Status == CloposAuthStatus.Server);
        CloposToken first = client.GetToken();
        Thread.Sleep(3200);
        client.Invalidate(first);
        Check(client.GetToken().Value.Reveal() != first.Value.Reveal());
        client.Dispose();
        Catch<CloposAuthException>(() => new CloposAuthClient(new CloposAuthSettings("a", "b", "", "d")));
        Catch<ObjectDisposedException>(() => client.GetToken());
    }

    private static void Fake()
    {
        var token = new CloposToken("test-token", TimeSpan.FromMinutes(5));
        Check(token.ExpiresIn == TimeSpan.FromMinutes(5) && token.TokenType == "Bearer");
        Check((token.ExpiresAt - DateTimeOffset.UtcNow).Duration() < TimeSpan.FromMinutes(6));
        ICloposTokenSource good = new FakeTokens(() => token);
        Check(Wait(good.GetTokenAsync()).Value.Reveal() == "test-token");

        ICloposTokenSource bad = new FakeTokens(() => throw new CloposAuthException(
            CloposAuthStatus.Rejected, "wrong secret", 401, reason: CloposAuthReason.Credentials));
        CloposAuthException failure = Expect(CloposAuthStatus.Rejected, () => Wait(bad.GetTokenAsync()), "wrong secret");
        Check(failure.Reason == CloposAuthReason.Credentials && failure.StatusName == "REJECTED");

        // The helper accepts it as well.
        var service = new FakeService();
        using var http = new HttpClient(new CloposTokenHandler(good, service));
        Check(Wait(http.GetAsync(good.BaseUrl)).StatusCode == HttpStatusCode.OK);
        Check(service.Seen.Single().Token == "test-token");
        Check(!File.ReadAllText("/proc/self/maps").Contains("libclopos_auth"));
    }

    private static void LoadedFromMemory()
    {
        if (Environment.OSVersion.Platform == PlatformID.Win32NT)
        {
            return; // the native library is in the program's folder
        }
        Assembly loaded = Assembly.Load(File.ReadAllBytes(typeof(CloposAuthClient).Assembly.Location));
        Check(loaded.Location == "");
        PropertyInfo version = loaded.GetType(typeof(CloposAuthClient).FullName!).GetProperty("NativeVersion");
        Exception? failure = Throws<TargetInvocationException>(() => version.GetValue(null)).InnerException;
        string place = Path.Combine(AppDomain.CurrentDomain.BaseDirectory, "libclopos_auth.so");
        Check(failure is DllNotFoundException && failure.Message.Contains("Looked for: "), failure);
        Check(failure!.Message.Contains(place), failure);
    }

    private static void ExpiredAndRefreshed()
    {
        using CloposAuthClient client = NewClient();
        CloposToken current = client.GetToken();
        var watch = Stopwatch.StartNew();
        for (int changes = 0; changes < 2; Thread.Sleep(10))
        {
            CloposToken next = client.GetToken();
            Check(next.ExpiresIn >= TimeSpan.Zero);
            changes += next.Value.Reveal() == current.Value.Reveal() ? 0 : 1;
            current = next;
            Check(watch.Elapsed.TotalSeconds < 20);
        }
    }

    // With the HTTP handler.
    private static void RecoversFromA401()
    {
        using CloposAuthClient client = NewClient();
        CloposToken refused = client.GetToken();
        Thread.Sleep(3200);
        var service = new FakeService { Refused = refused.Value.Reveal() };
        using var http = new HttpClient(new CloposTokenHandler(client, service));
        var url = new Uri(client.BaseUrl, "/open-api/v2/sales");

        // A body that can be read only once.
        var body = new StreamContent(new Once(new byte[] { 1, 2, 3 }));
        Check(Wait(http.PostAsync(url, body)).StatusCode == HttpStatusCode.OK);
        Check(service.Seen.Count == 2, service.Seen.Count);
        Check(service.Seen.All(request => request.Body == "01-02-03"), service.Seen[1].Body);
        CloposToken next = client.GetToken();
        Check(next.Value.Reveal() != refused.Value.Reveal());
        Check(service.Seen[0].Token == refused.Value.Reveal() && service.Seen[1].Token == next.Value.Reveal());
        client.Invalidate(refused);
        Check(client.GetToken().Value.Reveal() == next.Value.Reveal());

        // Other hosts do not get it.
        Check(Wait(http.GetAsync("https://example.com/")).StatusCode == HttpStatusCode.OK);
        Check(Wait(http.GetAsync(url.AbsoluteUri.Replace("https:", "http:"))).StatusCode == HttpStatusCode.OK);
        Check(service.Seen.Count == 4 && service.Seen.Skip(2).All(request => request.Token == null));

        // Without a refusal the request is sent once.
        Check(Wait(http.GetAsync(url)).StatusCode == HttpStatusCode.OK);
        Check(service.Seen.Count == 5 && service.Seen[4].Token == next.Value.Reveal());
    }

    // The helper with a sender that accepts any certificate: this is not about trust.
    private static HttpClient Helper(CloposAuthClient client) =>
        new HttpClient(new CloposTokenHandler(client, new HttpClientHandler
        {
            ServerCertificateCustomValidationCallback = (_, certificate, chain, problems) => true,
        }) { Venue = "1" });

    // Requests the venues: the response has this status, and this in its body.
    private static void ExpectVenues(
        CloposAuthClient client, HttpClient http, int status, string part, [CallerLineNumber] int line = 0)
    {
        using HttpResponseMessage response = Wait(http.GetAsync(new Uri(client.BaseUrl, "/open-api/v2/venues")));
        string body = Wait(response.Content.ReadAsStringAsync());
        Check((int)response.StatusCode == status && body.Contains(part), response.StatusCode + body, line);
    }

    private static void HelperGetsAnotherToken()
    {
        using CloposAuthClient client = NewClient();
        using HttpClient http = Helper(client);
        CloposToken token = client.GetToken();
        Thread.Sleep(3200);
        ExpectVenues(client, http, 200, "Sandbox");
        Check(client.GetToken().Value.Reveal() != token.Value.Reveal());
    }

    private static void HelperHandsARefusalBack()
    {
        using CloposAuthClient client = NewClient();
        using HttpClient http = Helper(client);
        ExpectVenues(client, http, 401, "Invalid token");
    }

    private static void HelperKeepsAGoodToken()
    {
        using CloposAuthClient client = NewClient();
        using HttpClient http = Helper(client);
        CloposToken token = client.GetToken();
        ExpectVenues(client, http, 401, "Headers are missing");
        ExpectVenues(client, http, 401, "Invalid integrator_id");
        Check(client.GetToken().Value.Reveal() == token.Value.Reveal());
        ExpectVenues(client, http, 200, "Sandbox");
    }

    private static void HelperKeepsTheTokenFromOthers()
    {
        using CloposAuthClient client = NewClient();
        using HttpClient http = Helper(client);
        ExpectVenues(client, http, 302, "");
        ExpectVenues(client, http, 302, "");
        Check(Wait(http.GetAsync(Env("CLOPOS_ELSEWHERE_URL"))).StatusCode == HttpStatusCode.Unauthorized);
        ExpectVenues(client, http, 200, "Sandbox");

        var sender = new FakeService { AutomaticRedirection = true };
        new CloposTokenHandler(client, sender).Dispose();
        Check(!sender.AutomaticRedirection);
    }

    private static void HelperSendsTheVenue()
    {
        var tokens = new FakeTokens(() => new CloposToken("test-token", TimeSpan.FromHours(1)));
        var service = new FakeService();
        using var http = new HttpClient(new CloposTokenHandler(tokens, service) { Venue = "7" });
        Check(Wait(http.GetAsync(tokens.BaseUrl)).StatusCode == HttpStatusCode.OK);
        Check(service.Seen.Single().Venue == "7" && service.Seen.Single().Token == "test-token");
    }

    private static void SixtyFourThreads()
    {
        using CloposAuthClient client = NewClient();
        using var gate = new ManualResetEventSlim();
        List<Task<CloposToken>> calls = Enumerable.Range(0, 64).Select(i => Task.Factory.StartNew(
            () =>
            {
                gate.Wait();
                CloposToken first = i % 2 == 0 ? client.GetToken() : Wait(client.GetTokenAsync());
                for (int n = 1; n < 1000; n++)
                {
                    Check(client.GetToken().Value.Reveal() == first.Value.Reveal());
                }
                return first;
            },
            TaskCreationOptions.LongRunning)).ToList();
        gate.Set();
        Check(calls.Select(call => Wait(call).Value.Reveal()).Distinct().Count() == 1);
    }

    private static long ResidentBytes()
    {
        for (int i = 0; i < 2; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
        string pages = File.ReadAllText("/proc/self/statm").Split(' ')[1];
        return long.Parse(pages, CultureInfo.InvariantCulture) * Environment.SystemPageSize;
    }

    private static void NoLeak()
    {
        using CloposAuthClient client = NewClient();
        long before = 0;
        for (int cycle = 0; cycle < 12000; cycle++)
        {
            if (cycle == 2000)
            {
                before = ResidentBytes();
            }
            for (int i = 0; i < 10; i++)
            {
                Check(client.GetToken().Value.Reveal().Length != 0);
                try
                {
                    new CloposAuthClient(new CloposAuthSettings("a", "b", "", "d"));
                    Check(false);
                }
                catch (CloposAuthException failure)
                {
                    Check(failure.Status == CloposAuthStatus.InvalidArgument);
                }
            }
            var witness = new byte[100];
            var other = new CloposAuthClient(new CloposAuthSettings("a", "b", "c", "d")
            {
                MaxAttempts = 1,
                Log = (_, line) => witness[0]++,
            });
            if (cycle % 2 == 0)
            {
                other.Dispose(); // the others are left to the finaliser
            }
        }
        long grown = ResidentBytes() - before;
        Console.Error.WriteLine($"grown by {grown / 1024} KiB");
        Check(grown < 4 << 20, grown);
    }

    // A program's fake of a client.
    private sealed class FakeTokens : ICloposTokenSource
    {
        private readonly Func<CloposToken> make;

        internal FakeTokens(Func<CloposToken> make) => this.make = make;

        public Uri BaseUrl => new Uri("https://service.test");

        public async Task<CloposToken> GetTokenAsync(CancellationToken cancellationToken = default)
        {
            await Task.Yield();
            return make();
        }

        public void Invalidate(CloposToken refused)
        {
        }
    }

    // A stream that cannot be rewound.
    private sealed class Once : MemoryStream
    {
        internal Once(byte[] content)
            : base(content)
        {
        }

        public override bool CanSeek => false;
    }

    // Refuses one token, and keeps the requests.
    private sealed class FakeService : HttpMessageHandler
    {
        internal string Refused { get; set; } = "";

        internal Action? Meanwhile { get; set; }

        // WinHttpHandler's name of AllowAutoRedirect.
        public bool AutomaticRedirection { get; set; }

        internal List<Request> Seen { get; } = new List<Request>();

        protected override async Task<HttpResponseMessage> SendAsync(
            HttpRequestMessage request, CancellationToken cancellationToken)
        {
            var body = new MemoryStream();
            if (request.Content != null)
            {
                await request.Content.CopyToAsync(body);
            }
            string? Header(string name) =>
                request.Headers.TryGetValues(name, out IEnumerable<string> values) ? values.Single() : null;
            string? token = Header("x-token");
            Seen.Add(new Request(token, Header("x-venue"), BitConverter.ToString(body.ToArray())));
            Meanwhile?.Invoke();
            return token == Refused
                ? new HttpResponseMessage(HttpStatusCode.Unauthorized) { Content = new StringContent("Invalid token") }
                : new HttpResponseMessage(HttpStatusCode.OK);
        }
    }

    private sealed class Request
    {
        internal Request(string? token, string? venue, string body)
        {
            Token = token;
            Venue = venue;
            Body = body;
        }

        internal string? Token { get; }

        internal string? Venue { get; }

        internal string Body { get; }
    }
}
