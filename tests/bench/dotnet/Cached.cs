// The cost of a cached token in .NET, compared with a string behind a lock, without a copy. Like ../cached_token.c.
using System;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Threading;
using Clopos.Auth;

internal static class Cached
{
    private const int Calls = 400_000;

    private static double Measure(Action call, int threads)
    {
        using var start = new Barrier(threads + 1);
        var all = Enumerable.Range(0, threads).Select(_ => new Thread(() =>
        {
            start.SignalAndWait();
            for (var i = 0; i < Calls / threads; i++)
            {
                call();
            }
        })).ToList();
        all.ForEach(thread => thread.Start());
        var watch = Stopwatch.StartNew();
        start.SignalAndWait();
        all.ForEach(thread => thread.Join());
        return watch.Elapsed.TotalMilliseconds * 1e6 / (Calls / threads * threads);
    }

    private static void Main(string[] arguments)
    {
        var rounds = int.Parse(arguments[2]);
        using var client = new CloposAuthClient(
            new CloposAuthSettings("sandbox_client", "sandbox_secret", "sandbox", "test_sandbox")
            {
                BaseUrl = arguments[0],
                Roots = CloposRoots.None,
                CaPem = File.ReadAllBytes(arguments[1]),
            });
        var token = client.GetToken();
        var ends = DateTimeOffset.UtcNow + token.ExpiresIn;
        var gate = new object();
        var ways = new (string Name, Action Call)[]
        {
            ("GetToken", () => client.GetToken()),
            ("GetTokenAsync", () =>
            {
                if (!client.GetTokenAsync().IsCompleted)
                {
                    throw new InvalidOperationException("it waits");
                }
            }),
            ("lock, no copy", () =>
            {
                lock (gate)
                {
                    if (DateTimeOffset.UtcNow >= ends || token.Value.Reveal().Length == 0)
                    {
                        throw new InvalidOperationException("expired");
                    }
                }
            }),
            ("lock alone", () =>
            {
                lock (gate)
                {
                    if (token.Value.Reveal().Length == 0)
                    {
                        throw new InvalidOperationException("empty");
                    }
                }
            }),
        };
        var threads = new[] { 1, 2, 8, 32 };
        var times = new double[ways.Length, threads.Length, rounds];
        for (var round = -1; round < rounds; round++)
        {
            for (var t = 0; t < threads.Length; t++)
            {
                for (var w = 0; w < ways.Length; w++)
                {
                    // The first round compiles the code, and does not count.
                    times[w, t, Math.Max(round, 0)] = Measure(ways[w].Call, threads[t]);
                }
            }
        }
        for (var w = 0; w < ways.Length; w++)
        {
            var medians = threads.Select((_, t) =>
                Enumerable.Range(0, rounds).Select(r => times[w, t, r]).OrderBy(ns => ns).ElementAt(rounds / 2));
            Console.WriteLine($"{ways[w].Name,-30} " + string.Join(" ", medians.Select(ns => $"{ns,8:F1}")));
        }
    }
}
