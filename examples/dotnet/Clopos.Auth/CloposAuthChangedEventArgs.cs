using System;

namespace Clopos.Auth
{
    /// <summary>What <see cref="CloposAuthClient.Changed"/> tells.</summary>
    public sealed class CloposAuthChangedEventArgs : EventArgs
    {
        internal CloposAuthChangedEventArgs(CloposAuthStatus status) => Status = status;

        /// <summary><see cref="CloposAuthStatus.Ok"/>: there is a new token; otherwise the last request
        /// failed like this.</summary>
        public CloposAuthStatus Status { get; }
    }
}
