using System;

namespace Clopos.Auth
{
    /// <summary>The argument of <see cref="CloposAuthClient.Changed"/>.</summary>
    public sealed class CloposAuthChangedEventArgs : EventArgs
    {
        internal CloposAuthChangedEventArgs(CloposAuthStatus status) => Status = status;

        /// <summary><see cref="CloposAuthStatus.Ok"/> if there is a new token, otherwise why the attempt failed or has to
        /// wait.</summary>
        public CloposAuthStatus Status { get; }
    }
}
